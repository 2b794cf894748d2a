// API keys: who may do what. A key is shown once, when it is made.
import { html } from "../html.js";
import { call, needing, part, post, whyNot } from "../api.js";
import { usePolled } from "../use.js";
import { askFor, DialogHead, show } from "./dialog.js";
import { Icon } from "./icons.js";
import { act } from "./toasts.js";
import { Badge, Code, Section, Time } from "./shown.js";

const DAY_SECONDS = 86_400;
const TONES = { active: "good", expired: "", revoked: "bad" };

async function create(changed) {
  const made = await askFor({
    title: "New API key", does: "Create", text: "From the first key on, every request needs one: this page will ask for it, too.",
    fields: [
      { name: "name", label: "Name", required: true, placeholder: "importer", autofocus: true },
      { name: "role", label: "Role", kind: "select", options: [{ value: "", label: "none" }, "reader", "operator", "admin"] },
      { name: "scopes", label: "What it may do beside that, by comma", placeholder: "tasks:write, tasks:read", hint: "tasks, schedules, queues, endpoints, workers, secrets, keys with :read, :write or :*; audit:read" },
      { name: "namespace", label: "Namespace", placeholder: "that of the key that makes it" },
      { name: "days", label: "Days until it ends", kind: "number", min: 1, placeholder: "never" },
    ],
    work: ({ name, role, scopes, namespace, days }) => post("/v1/keys", {
      name, ...(role ? { role } : {}), ...(scopes.trim() ? { scopes: scopes.split(",").map((one) => one.trim()).filter(Boolean) } : {}), ...(namespace ? { namespace } : {}), ...(days ? { expires_in_seconds: Number(days) * DAY_SECONDS } : {}) }),
  });
  if (made?.key) await show(({ close }) => html`<div><${DialogHead} title=${`The key ${made.name}`} close=${close} />
    <div class="dialog-body"><p>Copy it now: it is not shown again.</p><${Code} text=${made.key} label="key" /></div></div>`);
  changed();
}

async function revoke(one, changed) {
  const isDone = await askFor({ title: `Revoke ${one.name}?`, text: "Whoever uses it is refused from now on.", does: "Revoke", isGrave: true, work: () => call("DELETE", `/v1/keys/${part(one.id)}`).then(() => true) });
  if (isDone) act(async () => changed(), `${one.name} is revoked`);
}

export function ApiKeys() {
  const off = whyNot("keys:read");
  const { data, refresh } = usePolled(off ? null : "/v1/keys", 10);
  if (!data) return off ? html`<${Section} title="API keys" id="keys">
    <p class="muted">${off}.</p></${Section}>` : null;
  return html`<${Section} title="API keys" id="keys" aside=${html`<button type="button" class="small" onClick=${() => create(refresh)} ...${needing("keys:write")}>
    <${Icon} name="plus" size=${14} />New key</button>`}>
    ${data.items.length ? html`<div class="table" tabindex="0" role="region" aria-label="API keys, table"><table><thead><tr><th>Key</th>
      <th>May</th><th>Namespace</th><th>State</th><th class="right">Last used</th><th class="right">Ends</th><th>
      <span class="offscreen">Actions</span></th></tr></thead><tbody>
      ${data.items.map((one) => html`<tr><td><span class="name">${one.name}</span><span class="sub mono">tp_${one.id}…</span></td><td>
        ${one.scopes.join(", ")}</td><td>${one.namespace}</td><td><${Badge} tone=${TONES[one.state]}>${one.state}</${Badge}></td>
        <td class="right"><${Time} at=${one.last_used_at} /></td><td class="right"><${Time} at=${one.expires_at} /></td>
        <td class="tight">${one.state === "active" && html`<button type="button" class="small" onClick=${() => revoke(one, refresh)} ...${needing("keys:write")}>Revoke…</button>`}</td></tr>`)}</tbody></table></div>`
      : html`<p class="panel padded muted">None. Without keys, whoever reaches the service may do everything; it then listens on this machine only.</p>`}</${Section}>`;
}
