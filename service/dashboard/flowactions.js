// What can be done to a flow key: hold its tasks, change its limits, forget what its rate has used up.
import { call, part, post } from "./api.js";
import { askFor } from "./parts/dialog.js";
import { act } from "./parts/toasts.js";

const at = (flow) => `/v1/flows/${part(flow.key)}`;
const pause = (flow) => act(() => call("PATCH", at(flow), { paused: !flow.paused }), flow.paused ? `${flow.key} goes on` : `${flow.key} is paused`);
const reset = (flow) => act(() => post(`${at(flow)}/reset`), "Its rate begins anew");

const LIMITS = [
  ["concurrency", "Tasks that run at once", 1],
  ["rate", "Starts, in each period", 1],
  ["period_seconds", "Period, in seconds", 0.001],
  ["burst", "Starts at once after a pause", 1],
];
const change = (flow) => askFor({
  title: `Limits of ${flow.key}`, does: "Save", text: "They hold at once, for all of its tasks, whatever their queues. What is left empty is not limited.",
  fields: [
    ...LIMITS.map(([name, label, min]) => ({ name, label, kind: "number", min, value: String(flow[name] ?? "") })),
    { name: "pinned", label: "Keep these limits whatever submissions name", kind: "check", value: flow.pinned === true },
  ],
  work: ({ pinned, ...values }) => call("PATCH", at(flow), { ...Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value === "" ? null : Number(value)])), pinned }),
});

export const flowMenu = (flow, changed) => {
  const then = (doing) => () => Promise.resolve(doing(flow)).then(changed);
  return [
    { label: flow.paused ? "Resume" : "Pause", icon: flow.paused ? "play" : "pause", needs: "queues:write", does: then(pause) },
    { label: "Limits…", icon: "settings", needs: "queues:write", does: then(change) },
    flow.rate && { label: "Reset the rate", icon: "replay", needs: "queues:write", does: then(reset) },
  ];
};
