// The slowest attempts of a time, each with where its time went and a way to its task.
import { html } from "../html.js";
import { queryOf } from "../api.js";
import { span } from "../format.js";
import { to } from "../route.js";
import { usePolled } from "../use.js";
import { Table } from "./rows.js";
import { Answer, Section, Time } from "./shown.js";

const SECONDS = [["wait_seconds", "waited"], ["hold_seconds", "held"], ["busy_seconds", "computed"]];
const STEPS = [["dns_ms", "name"], ["connect_ms", "connect"], ["tls_ms", "TLS"], ["first_byte_ms", "thought"], ["body_ms", "body"]];

export function Slowest({ last }) {
  const slow = usePolled(`/v1/stats/slow${queryOf({ last_seconds: last, top: 8 })}`, 10);
  return html`<${Section} title="Slowest attempts" id="slowest" aside=${html`<span class="faint">of the last day at most</span>`}>
    <${Answer} polled=${slow}>${({ items }) => (items.length ? html`<${Table} label="Slowest attempts" rows=${items} columns=${COLUMNS} keyOf=${(one) => `${one.task_id} ${one.attempt}`} />` : html`<p class="panel padded muted">
      Nothing ran longer than its threshold in this time.</p>`)}</${Answer}></${Section}>`;
}

const COLUMNS = [
  { title: "Task", show: (one) => html`<a class="name" href=${to(`/tasks/${one.task_id}`)}>${one.name}</a><span class="sub">
    ${one.attempt > 1 && `attempt ${one.attempt}, `}${one.outcome} <${Time} at=${one.ended_at} /></span>` },
  { title: "Ran", class: "right tight", show: (one) => span(one.run_seconds) },
  { title: "Slow from", class: "right tight", show: (one) => span(one.threshold_seconds) },
  { title: "Where the time went", show: (one) => html`<span class="muted">${where(one)}</span>` },
];

const where = (one) => [
  ...SECONDS.filter(([field]) => one[field] !== null).map(([field, word]) => `${word} ${span(one[field])}`),
  ...STEPS.filter(([field]) => one.times?.[field]).map(([field, word]) => `${word} ${span(one.times[field] / 1000)}`),
].join(", ");
