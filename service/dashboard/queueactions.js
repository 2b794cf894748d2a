// What can be done to a queue. Pause and limits are offered where the service has them.
import { get, part, post, call } from "./api.js";
import { to, go } from "./route.js";
import { askFor } from "./parts/dialog.js";
import { act } from "./parts/toasts.js";
import { begin } from "./bulk.js";
import { readJson } from "./actions.js";

export const isPaused = (queue) => Boolean(queue.paused ?? queue.is_paused);
export const canPause = (queue) => queue.paused !== undefined || queue.is_paused !== undefined;
const at = (queue) => `/v1/queues/${part(queue.name)}`;

export const pause = (queue) => act(() => post(`${at(queue)}/pause`), `${queue.name} is paused: what runs goes on, nothing new starts`);
export const resume = (queue) => act(() => post(`${at(queue)}/resume`), `${queue.name} goes on`);

// Edits the settings as they are: what the service knows of is in the contract, and it names each fault.
export const editSettings = async (queue) => {
  const fresh = await get(at(queue));
  const before = fresh.settings ?? {};
  return askFor({
    title: `Settings of ${queue.name}`, wide: true, does: "Save",
    text: "What applies to tasks of this queue that say nothing themselves. A field that you take away is no longer set.",
    fields: [{ name: "settings", label: "Settings", kind: "area", rows: 12, value: JSON.stringify(before, null, 2), autofocus: true }],
    work: ({ settings }) => {
      const given = readJson(settings, "Settings") ?? {};
      const gone = Object.keys(before).filter((name) => !(name in given));
      return call("PATCH", at(queue), { ...given, ...Object.fromEntries(gone.map((name) => [name, null])) });
    },
  });
};

export const queueMenu = (queue, changed) => {
  const then = (doing) => () => Promise.resolve(doing(queue)).then(changed);
  return [
    canPause(queue) && (isPaused(queue) ? { label: "Resume", icon: "play", does: then(resume) } : { label: "Pause", icon: "pause", does: then(pause) }),
    { label: "Tasks", icon: "tasks", does: () => go(to("/tasks", { q: `queue:${queue.name}` })) },
    { label: "Settings…", icon: "settings", does: then(editSettings) },
    { label: "Cancel all that wait…", icon: "cancel", isGrave: true, does: () => begin("cancel", { queue: queue.name, state: "scheduled,queued" }, changed) },
  ];
};
