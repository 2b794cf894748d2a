// What can be done to a queue: hold it, close it, limit it, empty it.
import { call, get, part, post } from "./api.js";
import { go, to } from "./route.js";
import { askFor } from "./parts/dialog.js";
import { act } from "./parts/toasts.js";
import { begin } from "./bulk.js";
import { readJson } from "./actions.js";

const at = (queue) => `/v1/queues/${part(queue.name)}`;
const why = (reason) => (reason ? { reason } : {});
const REASON = { name: "reason", label: "Why", placeholder: "shown with the queue, and to who asks why a task waits", autofocus: true };

export const pause = (queue) => act(() => post(`${at(queue)}/pause`), `${queue.name} is paused: what runs goes on, nothing new starts`);
export const resume = (queue) => act(() => post(`${at(queue)}/resume`), `${queue.name} goes on`);
const pauseBecause = (queue) => askFor({
  title: `Pause ${queue.name}`, does: "Pause", text: "No worker starts a task of it until it is resumed. What runs goes on, and tasks are taken in.",
  fields: [REASON], work: ({ reason }) => post(`${at(queue)}/pause`, why(reason)),
});
const drain = (queue) => askFor({
  title: `Drain ${queue.name}`, does: "Drain", text: "No task is taken in from now on (409), while workers go on until it is empty.",
  fields: [REASON], work: ({ reason }) => post(`${at(queue)}/drain`, why(reason)),
});

const LIMITS = [
  { name: "concurrency", label: "Tasks that run at once, over all workers", min: 1, step: 1, placeholder: "as many as there is room for" },
  { name: "rate", label: "Starts, in each period", min: 0.001, placeholder: "any number" },
  { name: "period_seconds", label: "Period, in seconds", min: 0.001, placeholder: "1" },
  { name: "burst", label: "Starts at once after a pause", min: 1, step: 1, placeholder: "what a tenth of a second brings" },
  { name: "max_length", label: "Tasks that may wait in it", min: 1, step: 1, placeholder: "any number", hint: "Beyond that submissions are refused (429), or the oldest are let go." },
];
const WHEN_FULL = { name: "when_full", label: "When it is full", kind: "select", options: [{ value: "", label: "refuse (reject)" }, { value: "drop_oldest", label: "cancel the oldest (drop_oldest)" }] };
const NAMED = [...LIMITS.map((one) => one.name), "when_full", "description"];

// What was there and is no longer becomes null: the service then removes it.
export const editSettings = async (queue) => {
  const before = (await get(at(queue))).settings;
  const more = Object.fromEntries(Object.entries(before).filter(([name]) => !NAMED.includes(name)));
  return askFor({
    title: `Limits and settings of ${queue.name}`, wide: true, does: "Save", text: "They hold at once, for all of its tasks. What is left empty is not limited.",
    fields: [
      ...LIMITS.map((one) => ({ ...one, kind: "number", value: String(before[one.name] ?? "") })),
      { ...WHEN_FULL, value: before.when_full === "drop_oldest" ? "drop_oldest" : "" },
      { name: "description", label: "Description", value: before.description ?? "" },
      { name: "more", label: "What applies to tasks that say nothing themselves, as JSON", kind: "area", rows: 5, value: JSON.stringify(more, null, 2), hint: "retries, timeout_seconds, backoff, result_ttl_seconds, callback, …" },
    ],
    work: (values) => {
      const limits = LIMITS.filter((one) => values[one.name] !== "").map((one) => [one.name, Number(values[one.name])]);
      const texts = ["when_full", "description"].filter((name) => values[name]).map((name) => [name, values[name]]);
      const given = { ...Object.fromEntries([...limits, ...texts]), ...(readJson(values.more, "The rest") ?? {}) };
      const gone = Object.keys(before).filter((name) => !(name in given)).map((name) => [name, null]);
      return call("PATCH", at(queue), { ...given, ...Object.fromEntries(gone) });
    },
  });
};

export const queueMenu = (queue, changed) => {
  const then = (doing) => () => Promise.resolve(doing(queue)).then(changed);
  return [
    !queue.paused && { label: "Pause, with a reason…", icon: "pause", needs: "queues:write", does: then(pauseBecause) },
    !queue.draining && { label: "Drain…", icon: "stop", needs: "queues:write", does: then(drain) },
    (queue.paused || queue.draining) && { label: "Resume", icon: "play", needs: "queues:write", does: then(resume) },
    { label: "Limits and settings…", icon: "settings", needs: "queues:write", does: then(editSettings) },
    { label: "Tasks", icon: "tasks", does: () => go(to("/tasks", { q: `queue:${queue.name}` })) },
    { label: "Cancel all that wait…", icon: "cancel", isGrave: true, needs: "tasks:write", does: () => begin("cancel", { queue: queue.name, state: "scheduled,queued" }, changed) },
  ];
};
