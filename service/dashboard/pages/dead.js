// Dead letters: what failed for good, kept for a week, to be looked at and replayed.
import { html } from "../html.js";
import { to } from "../route.js";
import { Empty } from "../parts/shown.js";
import { Tasks } from "./tasks.js";

export const Dead = () => html`<${Tasks} fixed="state:failed" title="Dead letters" lead="Tasks that failed for good. They are kept for a week unless told otherwise: find the cause, then replay them, a few first if you like."
  empty=${html`<${Empty} icon="succeeded" title="Nothing has failed">What runs out of retries appears here, with its error and its attempts. <a class="link" href=${to("/tasks")}>All tasks</a></${Empty}>`} />`;
