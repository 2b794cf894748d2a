// What workers can be told. They are told through the store and obey within a second or two.
import { part, post } from "./api.js";
import { askFor } from "./parts/dialog.js";
import { act } from "./parts/toasts.js";
import { go, to } from "./route.js";

const at = (worker) => `/v1/workers/${part(worker.id)}`;
export const quiet = (worker) => act(() => post(`${at(worker)}/quiet`), "Told to take no more tasks");
export const resume = (worker) => act(() => post(`${at(worker)}/resume`), "Told to take tasks again");

export const stop = (worker) => askFor({
  title: `Stop ${worker.id}?`, isGrave: true, does: "Stop",
  text: "Its tasks may end; those that take longer are handed back, with nothing spent. Whatever runs it, such as a service manager, may start it again.",
  fields: [{ name: "drain", label: "How many seconds its tasks have", kind: "number", min: 0, max: 3600, hint: "Empty: as its TASKPOST_DRAIN_SECONDS says." }],
  work: ({ drain }) => post(`${at(worker)}/stop`, drain === "" ? undefined : { drain_seconds: Number(drain) }),
});

const SIZES = [["processes", "Processes", 1], ["concurrency", "Async handlers, in each process", 0], ["threads", "Threads, in each process", 0], ["children", "Child processes, of each process", 0], ["url_concurrency", "Calls of URLs, in each process", 0]];
const resize = (worker) => askFor({
  title: `Resize ${worker.id}`, does: "Resize", text: "What is left empty stays as it is. Running tasks are not touched: a smaller worker shrinks as they end.",
  fields: SIZES.map(([name, label, min]) => ({ name, label, kind: "number", min, step: 1, placeholder: name === "processes" ? String(worker.processes) : "" })),
  work: (values) => post(`${at(worker)}/resize`, Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "").map(([name, value]) => [name, Number(value)]))),
});

export const workerMenu = (worker, changed) => {
  const then = (doing) => () => Promise.resolve(doing(worker)).then(changed);
  return [
    worker.state === "quiet" ? { label: "Resume", icon: "play", needs: "workers:write", does: then(resume) } : { label: "Quiet", icon: "pause", isOff: worker.state === "stopping", needs: "workers:write", does: then(quiet) },
    { label: "Resize…", icon: "settings", isOff: worker.state === "stopping", needs: "workers:write", does: then(resize) },
    { label: "Look inside", icon: "workers", does: () => go(to(`/workers/${part(worker.id)}`)) },
    { label: "Stop…", icon: "stop", isGrave: true, isOff: worker.state === "stopping", needs: "workers:write", does: then(stop) },
  ];
};
