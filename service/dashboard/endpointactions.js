// What can be done to an endpoint: a test call, whether it is called at all, how many calls at once.
import { call, part, post } from "./api.js";
import { readJson } from "./actions.js";
import { go, to } from "./route.js";
import { askFor } from "./parts/dialog.js";
import { act } from "./parts/toasts.js";

const at = (one) => `/v1/endpoints/${part(one.name)}`;

export async function sendTest(one) {
  const made = await askFor({
    title: "Send a test", does: "Send", text: `A real, signed call of ${one.name.replace(":", "://")}, the same way as every task. It runs once.`,
    fields: [
      { name: "path", label: "Path and query", value: "/", autofocus: true },
      { name: "method", label: "Method", kind: "select", value: "POST", options: ["POST", "GET", "HEAD", "PUT", "PATCH", "DELETE"] },
      { name: "body", label: "Body, as JSON", kind: "area", rows: 4, hint: "Empty: one that says what it is." },
    ],
    work: ({ path, method, body }) => post(`${at(one)}/test`, { path, method, ...(body.trim() ? { body: readJson(body, "Body") } : {}) }),
  });
  if (made?.id) go(to(`/tasks/${made.id}`));
}

export const enable = (one) => act(() => post(`${at(one)}/enable`, {}), "It is called again");
const disable = (one) => askFor({
  title: `Disable ${one.name}?`, isGrave: true, does: "Disable", text: "It is not called until it is enabled again. Its tasks wait.",
  fields: [{ name: "reason", label: "Why", placeholder: "maintenance until noon" }],
  work: ({ reason }) => post(`${at(one)}/disable`, reason ? { reason } : {}),
});
export const change = (one) => askFor({
  title: `Limits of ${one.name}`, does: "Save", text: "What is left empty is as the settings of the service say.",
  fields: [
    { name: "concurrency", label: "Calls at once, of each worker process", kind: "number", min: 1, step: 1, value: String(one.concurrency ?? "") },
    { name: "breaker_failures", label: "Failures in a row that open the circuit", kind: "number", min: 0, step: 1, value: String(one.breaker_failures ?? ""), hint: "0: never." },
    { name: "breaker_ratio", label: "Share of failures within a minute that opens it", kind: "number", min: 0, max: 1, value: String(one.breaker_ratio ?? "") },
  ],
  work: (values) => call("PATCH", at(one), Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value === "" ? null : Number(value)]))),
});

export const endpointMenu = (one, changed) => {
  const then = (doing) => () => Promise.resolve(doing(one)).then(changed);
  return [
    { label: "Send a test…", icon: "bolt", needs: "endpoints:write", does: then(sendTest) },
    { label: "Limits…", icon: "settings", needs: "endpoints:write", does: then(change) },
    one.disabled || one.disabled_urls.length || one.circuit !== "closed" ? { label: one.disabled ? "Enable" : "Close the circuit", icon: "play", needs: "endpoints:write", does: then(enable) } : null,
    !one.disabled && { label: "Disable…", icon: "stop", isGrave: true, needs: "endpoints:write", does: then(disable) },
  ];
};
