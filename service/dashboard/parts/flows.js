// Flow keys: whose tasks are limited together, how many run and wait.
import { html } from "../html.js";
import { compact, span } from "../format.js";
import { usePolled } from "../use.js";
import { flowMenu } from "../flowactions.js";
import { Menu } from "./menu.js";
import { Table } from "./rows.js";
import { Badge, Meter, ProblemBox, Section, Time } from "./shown.js";

const MOST = 200;

export function Flows() {
  const polled = usePolled(`/v1/flows?limit=${MOST}`, 2);
  if (!polled.data) return html`<${ProblemBox} problem=${polled.problem} retry=${polled.refresh} />`;
  const { items, next_cursor: more } = polled.data;
  return html`<${Section} title="Flow keys" id="flows" aside=${html`<span class="faint">${more ? `the first ${MOST}` : ""}</span>`}>
    ${items.length ? html`<${Table} rows=${items} columns=${columnsOf(polled.refresh)} keyOf=${(one) => one.key} label="Flow keys" />`
      : html`<p class="panel padded muted">None. A submission with <code>
        ${'"flow": {"key": "api.example.com", "concurrency": 5}'}</code> limits all tasks of that key together, whatever their queues.</p>`}</${Section}>`;
}

const rateOf = (one) => (one.rate ? `${compact(one.rate)} in ${span(one.period_seconds ?? 1)}` : "any");
const columnsOf = (refresh) => [
  { title: "Key", show: (one) => html`<span class="name">
    ${one.key}</span> ${one.paused && html`<${Badge} tone="warn" icon="pause">paused</${Badge}>`} ${one.pinned && html`<${Badge}>pinned</${Badge}>`}` },
  { title: "Running", class: "right tight", show: (one) => html`${one.concurrency && html`<${Meter} value=${one.running} most=${one.concurrency} label="Room taken" /> `}${compact(one.running)}
    <span class="faint"> / ${one.concurrency ?? "any"}</span>` },
  { title: "Waiting", class: "right tight", show: (one) => compact(one.waiting) },
  { title: "Rate", class: "right tight", show: rateOf },
  { title: "Next start", class: "right tight hide-small", show: (one) => html`<${Time} at=${one.next_at} />` },
  { title: html`<span class="offscreen">Actions</span>`, class: "tight", show: (one) => html`<${Menu} small label=${`Actions of ${one.key}`} items=${flowMenu(one, refresh)} />` },
];
