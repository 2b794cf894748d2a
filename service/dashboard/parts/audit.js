// Who changed what: the audit log, page by page, found by a part of what it says.
import { html, useMemo, useState } from "../html.js";
import { get, part, queryOf, whyNot } from "../api.js";
import { query, setQuery, to } from "../route.js";
import { usePolled } from "../use.js";
import { Icon } from "./icons.js";
import { Table } from "./rows.js";
import { Badge, ProblemBox, Section, Time } from "./shown.js";

const PAGE = 50, LOOKED_AT = 1000, FRESH_SECONDS = 5;

const isRefused = (one) => one.status >= 400;
const saidOf = (one) => `${one.operation} ${wordsOf(one)} ${one.method} ${one.path} ${one.status} ${one.key_name} ${one.key_id} ${one.address} ${one.forwarded_for ?? ""}`.toLowerCase();

// The service lists all; a filter looks through its pages until it has found enough.
const found = (text, isRefusedOnly) => async (path, options) => {
  const fits = (one) => (!text || saidOf(one).includes(text)) && (!isRefusedOnly || isRefused(one));
  const isFiltered = text !== "" || isRefusedOnly;
  const items = [];
  let cursor = new URLSearchParams(path.split("?")[1]).get("cursor");
  do {
    const page = await get(`/v1/audit${queryOf({ limit: isFiltered ? LOOKED_AT : PAGE, cursor })}`, options);
    items.push(...page.items.filter(fits));
    cursor = page.next_cursor;
  } while (cursor !== null && items.length < PAGE);
  return { items, next_cursor: cursor };
};

export function Audit() {
  const text = (query.value.audit ?? "").trim().toLowerCase(), isRefusedOnly = query.value.refused === "yes";
  const [trail, setTrail] = useState([]);
  const read = useMemo(() => found(text, isRefusedOnly), [text, isRefusedOnly]);
  const off = whyNot("audit:read");
  const cursor = trail.at(-1) ?? "";
  const polled = usePolled(off ? null : `/v1/audit${queryOf({ cursor })}`, cursor ? null : FRESH_SECONDS, read);
  const narrow = (changes) => { setTrail([]); setQuery(changes); };
  return html`<${Section} title="Audit" id="audit" aside=${html`<span class="faint">who changed what; about the last 10,000</span>`}>
    ${off ? html`<p class="muted">${off}.</p>` : html`
    <div class="finder"><div class="querybar"><${Icon} name="search" size=${14} />
      <input type="text" aria-label="Filter the audit log" placeholder="A part of a key's name, an action, a path or an address" value=${query.value.audit ?? ""} onInput=${(event) => narrow({ audit: event.target.value })} /></div>
      <div class="segments" role="group" aria-label="Outcome">${[["all", ""], ["refused", "yes"]].map(([word, value]) => html`<button type="button" aria-pressed=${isRefusedOnly === (value !== "")} onClick=${() => narrow({ refused: value })}>
        ${word}</button>`)}</div></div>
    <${ProblemBox} problem=${polled.problem} retry=${polled.refresh} />
    ${polled.data && html`<${Page} page=${polled.data} isFiltered=${text !== "" || isRefusedOnly} trail=${trail} setTrail=${setTrail} />`}`}</${Section}>`;
}

function Page({ page: { items, next_cursor: next }, isFiltered, trail, setTrail }) {
  if (!items.length && !trail.length) {
    return html`<p class="panel padded muted">${isFiltered ? "No entry says that." : "Nothing was changed yet. Whoever pauses a queue, cancels a task or makes a key stands here then."}</p>`;
  }
  return html`<div><${Table} rows=${items} columns=${COLUMNS} keyOf=${(one) => `${one.at} ${one.operation} ${one.path} ${one.key_id}`} label="Audit" />
    <p class="more"><span>${items.length ? "" : "There are no more."}</span><span class="buttons">
      <button type="button" class="small" disabled=${!trail.length} onClick=${() => setTrail(trail.slice(0, -1))}>Newer</button>
      <button type="button" class="small" disabled=${next === null} onClick=${() => setTrail([...trail, next])}>Older</button></span></p></div>`;
}

// cancelTask: cancel task.
const wordsOf = (one) => one.operation.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

// The page of what was changed, where it has one.
function What({ one }) {
  const [, kind, name] = one.path.match(/^\/v1\/(tasks|queues|schedules|workers|endpoints)\/([^/]+)/) ?? [];
  const path = html`<code class="mono">${one.method} ${one.path}</code>`;
  return html`<strong>${wordsOf(one)}</strong><span class="sub">${kind ? html`<a href=${to(`/${kind}/${part(name)}`)}>${path}</a>` : path}</span>`;
}

const COLUMNS = [
  { title: "When", class: "tight", show: (one) => html`<${Time} at=${one.at} />` },
  { title: "Who", class: "tight", show: (one) => html`<span class="name">${one.key_name}</span>${one.key_id !== one.key_name && html`<span class="sub mono">${one.key_id}</span>`}` },
  { title: "What", show: (one) => html`<${What} one=${one} />` },
  { title: "From", class: "tight", show: (one) => html`<span class="mono">${one.address}</span>${one.forwarded_for && html`<span class="sub" title="What X-Forwarded-For said">
    for ${one.forwarded_for}</span>`}` },
  { title: "Outcome", class: "right tight", show: (one) => html`<${Badge} tone=${isRefused(one) ? "bad" : "good"} icon=${isRefused(one) ? "failed" : "check"}>
    ${one.status}${isRefused(one) ? " refused" : ""}</${Badge}>` },
];
