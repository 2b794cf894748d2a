// Short words on what an action did. Failures stay until they are read; the rest goes by itself.
import { html, signal } from "../html.js";
import { Problem } from "../api.js";
import { Icon } from "./icons.js";
import { ProblemBox } from "./shown.js";

const toasts = signal([]);
let last = 0;
const STAYS_MS = 5000;

const close = (id) => { toasts.value = toasts.value.filter((one) => one.id !== id); };

export function say(text, { href, link, problem } = {}) {
  const id = ++last;
  toasts.value = [...toasts.value.slice(-3), { id, text, href, link, problem }];
  if (!problem) setTimeout(() => close(id), STAYS_MS);
}

// Does *work* and says what came of it: *done* is the text, or makes it of the answer. False when it failed.
export async function act(work, done) {
  try {
    const answer = await work();
    const told = typeof done === "function" ? done(answer) : done;
    if (told) say(...(Array.isArray(told) ? told : [told]));
    return answer ?? true;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    say("", { problem });
    return false;
  }
}

export const Toasts = () => html`<div class="toasts" role="status" aria-live="polite">
  ${toasts.value.map((one) => html`<div class="toast" key=${one.id}>
    ${one.problem ? html`<${ProblemBox} problem=${one.problem} />` : html`<${Icon} name="check" /><span>${one.text}</span>`}
    ${one.href && html`<a href=${one.href}>${one.link ?? "Open"}</a>`}
    <button type="button" class="quiet tiny" aria-label="Close" onClick=${() => close(one.id)}><${Icon} name="cancel" size=${12} /></button>
  </div>`)}
</div>`;
