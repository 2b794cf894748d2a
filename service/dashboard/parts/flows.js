// Flow keys: whose tasks are limited together, how many run and wait.
import { html } from "../html.js";
import { get, part, Problem, queryOf } from "../api.js";
import { compact, span } from "../format.js";
import { usePolled } from "../use.js";
import { flowMenu } from "../flowactions.js";
import { Menu } from "./menu.js";
import { Table } from "./rows.js";
import { Badge, Meter, ProblemBox, Section, Time } from "./shown.js";

const MOST = 200, MOST_OF_QUEUE = 20, LOOKED_AT = 100;
const ACTIVE = "scheduled,queued,running";

// Keys know no queue: those of a queue are those of its tasks. One that was forgotten meanwhile is left out.
async function ofQueue(path, options) {
  const { items } = await get(path, options);
  const keys = [...new Set(items.map((task) => task.flow?.key).filter(Boolean))].slice(0, MOST_OF_QUEUE);
  const state = (key) => get(`/v1/flows/${part(key)}`, options).catch((cause) => { if (cause instanceof Problem && cause.status === 404) return null; throw cause; });
  return { items: (await Promise.all(keys.map(state))).filter(Boolean) };
}

// The flow keys that tasks of a queue have; nothing where none has one.
export function QueueFlows({ queue }) {
  const polled = usePolled(`/v1/tasks${queryOf({ queue, state: ACTIVE, limit: LOOKED_AT })}`, 5, ofQueue);
  if (!polled.data?.items.length) return html`<${ProblemBox} problem=${polled.problem} retry=${polled.refresh} />`;
  return html`<${Section} title="Flow keys" id="flows" aside=${html`<span class="faint">of its newest ${LOOKED_AT} tasks that have not ended; each counts over all queues</span>`}>
    <${Table} rows=${polled.data.items} columns=${columnsOf(polled.refresh)} keyOf=${(one) => one.key} label="Flow keys" /></${Section}>`;
}

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
