// Work on many tasks at once: how far it is, what it did, and a way to abort it.
import { html } from "../html.js";
import { call, needing } from "../api.js";
import { number, plural, span } from "../format.js";
import { query, to } from "../route.js";
import { now, usePolled, useTitle } from "../use.js";
import { ACTIONS } from "../bulk.js";
import { act } from "../parts/toasts.js";
import { Icon } from "../parts/icons.js";
import { Answer, Badge, Empty, Head, Meter, Time } from "../parts/shown.js";

const TONES = { running: "note", done: "good", aborted: "warn" };
const ICONS = { running: "running", done: "check", aborted: "stop" };

export function Bulk() {
  useTitle("Bulk actions");
  const polled = usePolled("/v1/bulk", 1);
  return html`<${Head} title="Bulk actions" lead="Each does one thing to every task that its filter means. The service carries it out; you may close this page." />
    <${Answer} polled=${polled}>${({ items }) => (items.length ? html`<ol class="bulks">
      ${items.map((one) => html`<${Row} key=${one.id} one=${one} isNamed=${query.value.id === one.id} refresh=${polled.refresh} />`)}</ol>`
      : html`<${Empty} icon="bulk" title="Nothing was done in bulk yet">Search for <a class="link" href=${to("/tasks")}>tasks</a>, then choose “All that match”.</${Empty}>`)}</${Answer}>`;
}

function Row({ one, isNamed, refresh }) {
  const isRunning = one.state === "running";
  const seconds = ((one.ended_at ? Date.parse(one.ended_at) : now.value) - Date.parse(one.created_at)) / 1000;
  const abort = () => act(() => call("DELETE", `/v1/bulk/${one.id}`), "Aborted: what is done stays done").then(refresh);
  return html`<li class=${`panel padded bulk ${isNamed ? "is-named" : ""}`}>
    <header><${Icon} name=${ACTIONS[one.action]?.[1] ?? "bulk"} /><strong>${ACTIONS[one.action]?.[0] ?? one.action}</strong>
      <${Badge} tone=${TONES[one.state]} icon=${ICONS[one.state]}>${one.state}</${Badge}>
      <code class="mono muted">${Object.entries(one.filter).map(([name, value]) => `${name}=${value}`).join("  ")}</code>
      <span class="faint"><${Time} at=${one.created_at} /></span>
      ${isRunning && html`<button type="button" class="small" onClick=${abort} ...${needing("tasks:write")}><${Icon} name="stop" size=${14} />Abort</button>`}</header>
    <${Meter} tone="wide" value=${one.state === "done" ? 1 : one.examined} most=${one.state === "done" ? 1 : Math.max(one.to_examine, 1)} label="Progress" />
    <p><strong class="number">${number(one.done)}</strong> done${one.skipped > 0 && html`, <span class="number">
      ${number(one.skipped)}</span> left as they were`}, ${plural(one.examined, "task")} looked at ${isRunning && html`of about ${number(one.to_examine)}`} in ${span(Math.max(0, seconds))}
      ${one.canary && html`<span class="muted">; ${one.canary.is_passed ? "the first ones have passed" : `waits for the first ${one.canary.tasks}, of which ${one.canary.failed} failed`}</span>`}
      ${one.reason && html`<span class="grave">; ${one.reason}</span>`}</p>
  </li>`;
}
