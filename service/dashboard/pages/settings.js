// Settings of this browser, what the service is, its keys and signing secrets, and who changed what.
import { html } from "../html.js";
import { call, me, needing, signOut, whyNot } from "../api.js";
import { theme, THEMES, times, ownZone } from "../preferences.js";
import { usePolled, useTitle } from "../use.js";
import { askFor } from "../parts/dialog.js";
import { Badge, Facts, Head, Section, Time } from "../parts/shown.js";
import { ApiKeys } from "../parts/apikeys.js";
import { Audit } from "../parts/audit.js";
import { act } from "../parts/toasts.js";
import { bytes } from "../format.js";

const ZONES = ["age", "local", "UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])];
const ZONE_WORDS = { age: "Ages, such as “3m ago”", local: `Local time (${ownZone})` };

export function Settings() {
  useTitle("Settings and audit");
  return html`<${Head} title="Settings and audit" lead=${me.value?.is_signed_in && html`<${Who} one=${me.value} />`}>
    ${me.value?.is_signed_in && html`<button type="button" onClick=${() => act(signOut)}>Sign out</button>`}</${Head}>
    <${Section} title="This browser" id="browser"><div class="panel padded fields two">
      <div class="field"><label for="theme">Theme</label>
        <select id="theme" value=${theme.value} onChange=${(event) => { theme.value = event.target.value; }}>
        ${THEMES.map((one) => html`<option value=${one} selected=${one === theme.value}>${one}</option>`)}</select></div>
      <div class="field"><label for="times">Times</label>
        <select id="times" value=${times.value} onChange=${(event) => { times.value = event.target.value; }}>
        ${ZONES.map((one) => html`<option value=${one} selected=${one === times.value}>
        ${ZONE_WORDS[one] ?? one}</option>`)}</select></div></div></${Section}>
    <${Service} /><${ApiKeys} /><${Secrets} /><${Audit} />`;
}

const Who = ({ one }) => html`Signed in with the key <strong>${one.key_name}</strong> (${one.role ?? one.scopes.join(", ")}) of the namespace
  <strong>${one.namespace}</strong>, until <${Time} at=${one.expires_at} always />.`;

function Service() {
  const { data } = usePolled("/v1/overview", 10);
  if (!data) return null;
  const { redis } = data;
  return html`<${Section} title="This service" id="service"><div class="panel padded"><${Facts} rows=${[
    ["Taskpost", data.version],
    ["Store", `${redis.server}${redis.servers > 1 ? `, ${redis.servers} servers` : ""}`],
    ["Shards", data.shards],
    ["Memory", `${bytes(redis.used_bytes)} of ${redis.most_bytes === null ? "any amount" : bytes(redis.most_bytes)}`],
    ["Writes go to disk", redis.is_append_only === null ? "not known" : redis.is_append_only ? "yes" : "no"],
    ["Drops keys when full", redis.evicts === null ? "not known" : redis.evicts ? "yes" : "no"],
    ["Contract", html`<a href="/openapi.yaml" target="_blank" rel="noreferrer">openapi.yaml</a>`],
  ]} /></div></${Section}>`;
}

const rotate = (refresh) => askFor({
  title: "Rotate the signing secret?", does: "Rotate", text: "Calls are signed with both the new and the old one for as long as you say, so that receivers can follow.",
  fields: [{ name: "keep", label: "How many seconds the old one stays valid", kind: "number", min: 0, value: "86400" }],
  work: ({ keep }) => call("POST", "/v1/secrets/rotate", keep === "" ? {} : { overlap_seconds: Number(keep) }),
}).then(refresh);

function Secrets() {
  const { data, refresh, problem } = usePolled(whyNot("secrets:read") ? null : "/v1/secrets", 10);
  if (!data) return problem ? html`<p class="muted">${problem.message}</p>` : null;
  return html`<${Section} title="Signing secrets" id="secrets" aside=${html`<button type="button" class="small" onClick=${() => rotate(refresh)} ...${needing("secrets:write")}>Rotate…</button>`}>
    ${data.items.length ? html`<div class="table"><table><thead><tr><th>Secret</th><th>Signs</th><th class="right">Since</th>
      <th class="right">Until</th></tr></thead><tbody>${data.items.map((one) => html`<tr><td><code>${one.secret}</code></td><td>
      ${one.expires_at ? html`<${Badge} tone="warn">being replaced</${Badge}>` : html`<${Badge} tone="good">now</${Badge}>`}</td>
      <td class="right"><${Time} at=${one.created_at} /></td><td class="right">
      <${Time} at=${one.expires_at} /></td></tr>`)}</tbody></table></div>
      <p class="muted">Their ends only: <code>taskpost secrets --reveal</code> tells the whole to who may know.</p>` : html`<p class="muted">None yet: the first call makes one.</p>`}</${Section}>`;
}
