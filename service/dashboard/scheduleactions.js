// What can be done to a schedule, and the form that makes or changes one, with its next times as one types.
import { html, useEffect, useState } from "./html.js";
import { call, part, post, Problem, get } from "./api.js";
import { readJson } from "./actions.js";
import { localTime } from "./format.js";
import { go, to } from "./route.js";
import { askFor } from "./parts/dialog.js";
import { act } from "./parts/toasts.js";
import { ProblemBox } from "./parts/shown.js";
import { ownZone } from "./preferences.js";

const at = (one) => `/v1/schedules/${part(one.name)}`;
export const pause = (one) => act(() => post(`${at(one)}/pause`), `${one.name} is paused`);
export const resume = (one) => act(() => post(`${at(one)}/resume`), `${one.name} goes on`);
export const runNow = (one) => act(() => post(`${at(one)}/run`), (task) => ["Fired by hand", { href: to(`/tasks/${task.id}`), link: "Open the task" }]);
export const remove = async (one) => {
  const isDone = await askFor({ title: `Delete ${one.name}?`, text: "Its tasks stay; no more are made.", does: "Delete", isGrave: true, work: () => call("DELETE", at(one)).then(() => true) });
  if (isDone) go(to("/schedules"));
};

// What a user defines, out of what the service shows of it.
const DEFINED = ["description", "task", "cron", "every_seconds", "anchor_at", "calendar", "at", "timezone", "start_at", "end_at", "jitter_seconds", "misfire", "misfire_grace_seconds", "overlap", "max_runs", "paused"];
const FORMED = ["cron", "every_seconds", "timezone", "task", "overlap", "misfire", "description"];

function Preview({ values }) {
  const [shown, setShown] = useState({ items: [] });
  useEffect(() => {
    const timer = setTimeout(async () => {
      const timing = timingOf(values);
      if (!timing.cron && !timing.every_seconds) { setShown({ items: [] }); return; }
      await post("/v1/schedules/preview", { ...timing, count: 5 }).then(setShown, (cause) => { if (!(cause instanceof Problem)) throw cause; setShown({ problem: cause, items: [] }); });
    }, 250);
    return () => clearTimeout(timer);
  }, [values.cron, values.every_seconds, values.timezone]);
  if (shown.problem) return html`<${ProblemBox} problem=${shown.problem} />`;
  return html`<div class="preview" aria-live="polite"><strong>${shown.explanation ?? "When it fires shows here"}</strong><ol>
    ${shown.items.map((one) => html`<li>${localTime(one.local_time)}</li>`)}</ol></div>`;
}

const timingOf = (values) => Object.fromEntries([["cron", values.cron], ["every_seconds", values.every_seconds === "" ? "" : Number(values.every_seconds)], ["timezone", values.timezone]].filter(([, value]) => value !== ""));

function definitionOf(values) {
  const made = { ...timingOf(values), task: readJson(values.task, "Task"), overlap: values.overlap, misfire: values.misfire };
  if (values.description) made.description = values.description;
  return { ...made, ...(readJson(values.more, "More") ?? {}) };
}

const fieldsOf = (one, isNew) => [
  isNew && { name: "name", label: "Name", required: true, placeholder: "nightly-report", autofocus: true },
  { name: "cron", label: "Cron", value: one.cron ?? "", placeholder: "0 3 * * MON-FRI", hint: "Minute, hour, day of month, month, day of week; or with seconds in front. @daily, L, MON#2 and H are understood." },
  { name: "every_seconds", label: "Or every so many seconds", kind: "number", min: 1, value: String(one.every_seconds ?? "") },
  { name: "timezone", label: "Time zone", value: one.timezone ?? ownZone },
  { name: "task", label: "Task of each occurrence", kind: "area", rows: 6, value: JSON.stringify(one.task ?? { name: "demo.add", args: { a: 2, b: 3 } }, null, 2), hint: "A submission; {{ fire_time | date }} and the like are filled in." },
  { name: "overlap", label: "While the last task has not ended", kind: "select", value: one.overlap ?? "allow", options: ["allow", "skip", "queue_one", "cancel_running"] },
  { name: "misfire", label: "Occurrences that were missed", kind: "select", value: one.misfire ?? "once", options: ["skip", "once", "all"] },
  { name: "description", label: "Description", value: one.description ?? "" },
  { name: "more", label: "Everything else, as JSON", kind: "area", rows: 3, value: JSON.stringify(Object.fromEntries(DEFINED.filter((field) => !FORMED.includes(field) && one[field] !== undefined && one[field] !== null && field !== "paused").map((field) => [field, one[field]])), null, 2), hint: "jitter_seconds, start_at, end_at, max_runs, calendar, at, …" },
].filter(Boolean);

export async function create(from = {}) {
  const made = await askFor({
    title: "New schedule", wide: true, does: "Create", fields: fieldsOf(from, true), extra: Preview,
    work: (values) => call("PUT", `/v1/schedules/${part(values.name)}`, definitionOf(values), { headers: { "if-none-match": "*" } }),
  });
  if (made?.name) go(to(`/schedules/${part(made.name)}`));
}

export async function edit(one) {
  const fresh = await get(at(one));
  return askFor({
    title: `Edit ${one.name}`, wide: true, does: "Save", fields: fieldsOf(fresh, false), extra: Preview,
    // If somebody else was faster, the service says so instead of losing what they did.
    work: (values) => call("PUT", at(one), { ...definitionOf(values), paused: fresh.paused }, { headers: { "if-match": `"${fresh.version}"` } }),
  });
}

export const scheduleMenu = (one, changed) => {
  const then = (doing) => () => Promise.resolve(doing(one)).then(changed);
  return [
    { label: "Run now", icon: "bolt", needs: "schedules:write", does: then(runNow) },
    one.paused ? { label: "Resume", icon: "play", needs: "schedules:write", does: then(resume) } : { label: "Pause", icon: "pause", isOff: one.state === "ended", needs: "schedules:write", does: then(pause) },
    { label: "Edit…", icon: "edit", needs: "schedules:write", does: then(edit) },
    { label: "Its tasks", icon: "tasks", does: () => go(to("/tasks", { q: `schedule:${one.name}` })) },
    { label: "Delete…", icon: "trash", isGrave: true, needs: "schedules:write", does: then(remove) },
  ];
};
