// The life of a task on one line: waiting, each attempt, the waits between, to the end.
import { html } from "../html.js";
import { span } from "../format.js";
import { now } from "../use.js";
import { isEnded } from "../actions.js";
import { Time } from "./shown.js";

const MOST_CUT = 0.12; // below this share of the line there is no room for words

// [{kind, from, until, word}], ms since the epoch; *kind* is "wait" or the outcome of an attempt.
function stretches(task, attempts, nowMs) {
  const end = task.finished_at ? Date.parse(task.finished_at) : nowMs;
  const found = [];
  let at = Date.parse(task.created_at);
  for (const one of attempts) {
    const from = Date.parse(one.started_at), until = one.finished_at ? Date.parse(one.finished_at) : end;
    if (from > at) found.push({ kind: "wait", from: at, until: from, word: found.length ? "waited for the next attempt" : "waited" });
    found.push({ kind: one.outcome ?? "running", from, until, word: `attempt ${one.attempt}: ${one.outcome ?? "running"}` });
    at = Math.max(at, until);
  }
  if (end > at) found.push({ kind: "wait", from: at, until: end, word: "waits" });
  return found;
}

export function Timeline({ task, attempts }) {
  const nowMs = isEnded(task) ? 0 : now.value;
  const found = stretches(task, attempts, nowMs);
  const from = Date.parse(task.created_at), whole = Math.max(1, (found.at(-1)?.until ?? from) - from);
  // A short attempt beside a long wait still shows: every stretch has at least a hundredth, and the lengths are in words.
  const shares = found.map((one) => Math.max((one.until - one.from) / whole, 0.012));
  return html`<figure class="timeline" aria-label="Timeline">
    <div class="timeline-bar">
      ${found.map((one, n) => html`<span class=${`stretch stretch-${one.kind}`} style=${{ flexGrow: shares[n] }} title=${`${one.word}, ${span((one.until - one.from) / 1000)}`}>
      ${shares[n] > MOST_CUT && html`<span>
      ${one.kind === "wait" ? "" : one.kind} ${span((one.until - one.from) / 1000)}</span>`}</span>`)}</div>
    <figcaption><span>created <${Time} at=${task.created_at} always /></span>${task.finished_at ? html`<span>
      ${task.state} <${Time} at=${task.finished_at} always /></span>` : html`<span>now</span>`}<span class="offscreen">
      ${found.map((one) => `${one.word} ${span((one.until - one.from) / 1000)}`).join(", ")}</span></figcaption>
  </figure>`;
}
