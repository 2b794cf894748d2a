// One action on all tasks that a filter means: counted first, then carried out by the service, watched and aborted here.
import { html, useEffect, useState } from "./html.js";
import { post, Problem } from "./api.js";
import { nameOf, number, plural } from "./format.js";
import { go, to } from "./route.js";
import { DialogHead, Fields, show } from "./parts/dialog.js";
import { Loading, ProblemBox, State } from "./parts/shown.js";

const ENDED = "succeeded,failed,cancelled,expired";
// [action, button, title, is it grave, the states to which it can be done]
export const ACTIONS = {
  replay: ["Replay", "replay", false, ENDED],
  cancel: ["Cancel", "cancel", true, "scheduled,queued,running"],
  reschedule: ["Reschedule", "clock", false, "scheduled,queued"],
  priority: ["Change priority", "queues", false, "scheduled,queued"],
  delete: ["Delete", "trash", true, ENDED],
};

// The filter with the states in which *action* does something; null when none of those that were asked for is one.
export function filterFor(action, filter) {
  const possible = ACTIONS[action][3].split(",");
  const wanted = filter.state ? filter.state.split(",").filter((one) => possible.includes(one)) : possible;
  return wanted.length ? { ...filter, state: wanted.join(",") } : null;
}

const FIELDS = {
  replay: [
    { name: "canary", label: "First only so many, the rest when they have succeeded", kind: "number", min: 1, max: 100, step: 1, hint: "Empty: all at once." },
    { name: "rate", label: "At most so many a second", kind: "number", min: 0.01, hint: "Empty: as fast as it goes." },
  ],
  reschedule: [{ name: "delay", label: "Start in how many seconds", kind: "number", min: 0, value: "0", required: true }],
  priority: [{ name: "priority", label: "Priority", kind: "number", min: 0, max: 9, step: 1, value: "5", required: true, hint: "9 goes first, 0 last." }],
};

function bodyOf(action, filter, values) {
  const body = { filter };
  if (values.rate) body.rate_per_second = Number(values.rate);
  if (values.canary) body.canary = { tasks: Number(values.canary) };
  if (action === "reschedule") body.delay_seconds = Number(values.delay);
  if (action === "priority") body.priority = Number(values.priority);
  return body;
}

// Asks, with a preview of what is meant, and begins. Goes to its progress.
export async function begin(action, filter, changed) {
  const begun = await show(({ close }) => html`<${Ask} action=${action} filter=${filter} close=${close} />`);
  if (begun) { changed?.(); go(to("/bulk", { id: begun.id })); }
}

function Ask({ action, filter, close }) {
  const [does, , isGrave] = ACTIONS[action];
  const fields = FIELDS[action] ?? [];
  const [values, setValues] = useState(() => Object.fromEntries(fields.map((one) => [one.name, one.value ?? ""])));
  const [count, setCount] = useState(null);
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const caught = (cause) => { if (!(cause instanceof Problem)) throw cause; setProblem(cause); setBusy(false); };
  useEffect(() => { post(`/v1/bulk/${action}`, { ...bodyOf(action, filter, values), dry_run: true }).then(setCount, caught); }, []);
  const submit = (event) => {
    event.preventDefault();
    setBusy(true);
    post(`/v1/bulk/${action}`, bodyOf(action, filter, values)).then(close, caught);
  };
  const many = count && `${count.is_exact ? "" : "over "}${plural(count.matched, "task")}`;
  return html`<form class="wide" onSubmit=${submit}>
    <${DialogHead} title=${`${does} all that match`} close=${close} />
    <div class="dialog-body">
      <p>The service does it to every task that matches when it comes to it, also to those that are not loaded here. <code class="mono">
        ${Object.entries(filter).map(([name, value]) => `${name}=${value}`).join("  ")}</code></p>
      <${ProblemBox} problem=${problem} />
      ${!count && !problem && html`<${Loading} rows=${2} />`}
      ${count && html`<p class="count" aria-live="polite"><strong>
        ${many}</strong> ${count.matched === 1 ? "matches" : "match"} now${count.is_exact ? "" : ` (${number(count.examined)} of about ${number(count.to_examine)} were looked at)`}.</p>
        ${count.sample.length > 0 && html`<ul class="sample" aria-label="Some of them">${count.sample.slice(0, 5).map((task) => html`<li>
          <${State} state=${task.state} /><span class="cut-line">${nameOf(task)}</span><code class="mono faint">
          ${task.id.slice(-8)}</code></li>`)}</ul>`}`}
      <div class="fields"><${Fields} fields=${fields} values=${values} change=${(name, value) => setValues({ ...values, [name]: value })} /></div>
    </div>
    <footer class="dialog-foot"><button type="button" onClick=${() => close(undefined)}>Close</button>
      <button type="submit" class=${isGrave ? "danger" : "primary"} disabled=${isBusy || !count || count.matched === 0}>
        ${does} ${count ? many : ""}</button></footer>
  </form>`;
}
