// What can be done to tasks, one by one: in which states, and how. The dialogs ask; the API decides.
import { call, post, Problem } from "./api.js";
import { nameOf } from "./format.js";
import { go, to } from "./route.js";
import { askFor } from "./parts/dialog.js";
import { act } from "./parts/toasts.js";

export const ENDED = ["succeeded", "failed", "cancelled", "expired"];
const WAITING = ["scheduled", "queued"];
export const isEnded = (task) => ENDED.includes(task.state);
const isWaiting = (task) => WAITING.includes(task.state);
const at = (task) => `/v1/tasks/${task.id}`;

export const cancel = (task) => act(() => post(`${at(task)}/cancel`), (answer) => (answer.state === "cancelled" ? "Cancelled" : "It is being stopped"));
export const replay = (task, edits) => act(() => post(`${at(task)}/replay`, edits), (made) => ["Replayed as a new task", { href: to(`/tasks/${made.id}`), link: "Open it" }]);
export const runNow = (task) => act(() => post(`${at(task)}/run`), "It is due now");
export const remove = async (task) => {
  const isDone = await askFor({ title: "Delete this task?", text: "Its result and its attempts go with it. This cannot be undone.", does: "Delete", isGrave: true, work: () => call("DELETE", at(task)).then(() => true) });
  if (isDone) go(to("/tasks"));
};

export const reschedule = (task) => askFor({
  title: "Reschedule",
  text: "Within its priority it goes behind those that wait already.",
  fields: [
    { name: "run_at", label: "Start no earlier than", kind: "datetime", hint: "Your local time. Empty: as it is." },
    { name: "delay_seconds", label: "Or in how many seconds", kind: "number", min: 0, hint: "Not together with a time." },
    { name: "priority", label: "Priority", kind: "number", min: 0, max: 9, step: 1, value: String(task.priority), hint: "9 goes first, 0 last." },
  ],
  does: "Reschedule",
  work: (values) => {
    const given = {};
    if (values.run_at) given.run_at = new Date(values.run_at).toISOString();
    if (values.delay_seconds !== "") given.delay_seconds = Number(values.delay_seconds);
    if (Number(values.priority) !== task.priority) given.priority = Number(values.priority);
    return post(`${at(task)}/reschedule`, given);
  },
});

// JSON of a field, or a Problem that names the field.
export function readJson(text, name) {
  if (!text.trim()) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Problem(0, { title: `${name} is no JSON`, detail: cause.message });
  }
}

export async function replayWithEdits(task) {
  const isHandler = task.name !== undefined;
  const shown = (value) => JSON.stringify(value ?? {}, null, 2);
  const fields = [
    isHandler ? { name: "args", label: "Arguments", kind: "area", rows: 8, value: shown(task.args), autofocus: true }
      : { name: "url", label: "URL", value: task.url, autofocus: true },
    !isHandler && task.body !== undefined && { name: "body", label: "Body", kind: "area", rows: 8, value: shown(task.body) },
    { name: "queue", label: "Queue", value: task.queue },
    { name: "priority", label: "Priority", kind: "number", min: 0, max: 9, step: 1, value: String(task.priority) },
  ].filter(Boolean);
  const made = await askFor({
    title: "Replay with edits", text: `A new task of the same submission as ${nameOf(task)}, with what you change here.`, fields, does: "Replay", wide: true,
    work: (values) => {
      const edits = {};
      if (isHandler && values.args !== fields[0].value) edits.args = readJson(values.args, "Arguments");
      if (!isHandler && values.url !== task.url) edits.url = values.url;
      if (values.body !== undefined && values.body !== shown(task.body)) edits.body = readJson(values.body, "Body");
      if (values.queue !== task.queue) edits.queue = values.queue;
      if (Number(values.priority) !== task.priority) edits.priority = Number(values.priority);
      return post(`${at(task)}/replay`, edits);
    },
  });
  if (made?.id) go(to(`/tasks/${made.id}`));
}

// Opens the playground with the same submission.
export const duplicate = (task) => go(to("/playground", { from: task.id }));

// The actions of one task as a menu shows them; *changed* is called when something was done.
export const menuOf = (task, changed) => {
  const then = (doing) => () => Promise.resolve(doing(task)).then(changed);
  return [
    isEnded(task) && { label: "Replay", icon: "replay", key: "r", needs: "tasks:write", does: then(replay) },
    isEnded(task) && { label: "Replay with edits…", icon: "edit", key: "e", needs: "tasks:write", does: then(replayWithEdits) },
    task.state === "scheduled" && { label: "Run now", icon: "bolt", needs: "tasks:write", does: then(runNow) },
    isWaiting(task) && { label: "Reschedule…", icon: "clock", needs: "tasks:write", does: then(reschedule) },
    { label: "Duplicate in the playground", icon: "duplicate", does: () => duplicate(task) },
    !isEnded(task) && { label: "Cancel", icon: "cancel", isGrave: true, needs: "tasks:write", does: then(cancel) },
    isEnded(task) && { label: "Delete…", icon: "trash", isGrave: true, needs: "tasks:write", does: () => remove(task) },
  ];
};
