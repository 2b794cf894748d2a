// Workers: who runs tasks, how full each is, when it was last heard of.
import { html } from "../html.js";
import { plural, span } from "../format.js";
import { to } from "../route.js";
import { now, usePolled, useTitle } from "../use.js";
import { workerMenu } from "../workeractions.js";
import { Menu } from "../parts/menu.js";
import { Table } from "../parts/rows.js";
import { Answer, Badge, Empty, Figure, Head, Meter, Time } from "../parts/shown.js";

const TONES = { running: "good", quiet: "warn", stopping: "warn" };
const STATE_ICONS = { running: "running", quiet: "pause", stopping: "stop" };
export const WorkerState = ({ state }) => html`<${Badge} tone=${TONES[state]} icon=${STATE_ICONS[state]}>${state}</${Badge}>`;
const slotsOf = (worker) => Object.values(worker.slots).reduce((sum, n) => sum + n, 0);

export function Workers() {
  useTitle("Workers");
  const polled = usePolled("/v1/workers", 2);
  return html`<${Head} title="Workers" lead="Each is a process with processes of its own. They register by themselves when they start, and are gone from here when they were not heard of for a while." />
    <${Answer} polled=${polled}>${({ items }) => (items.length ? html`<${Sum} items=${items} />
      <${Table} rows=${items} columns=${columnsOf(polled.refresh)} keyOf=${(one) => one.id} label="Workers" />`
      : html`<${Empty} icon="workers" title="No worker is running" curl="taskpost worker --handlers your_module">Tasks wait until there is one. Handlers are Python functions with <code>@task</code>; a worker without any calls URLs.</${Empty}>`)}</${Answer}>`;
}

function Sum({ items }) {
  const slots = items.reduce((sum, one) => sum + slotsOf(one), 0), running = items.reduce((sum, one) => sum + one.running, 0);
  return html`<div class="figures">
    <${Figure} label="Workers" value=${items.length} note=${plural(items.reduce((sum, one) => sum + one.processes, 0), "process", "processes")} />
    <${Figure} label="Running tasks" value=${running} note=${`of ${slots} slots`} href=${to("/tasks", { q: "state:running" })} />
    <${Figure} label="Quiet or stopping" value=${items.filter((one) => one.state && one.state !== "running").length} />
    <${Figure} label="Versions" value=${new Set(items.map((one) => one.version)).size} note=${[...new Set(items.map((one) => one.version))].join(", ")} /></div>`;
}

const columnsOf = (refresh) => [
  { title: "Worker", show: (one) => html`<a class="name" href=${to(`/workers/${encodeURIComponent(one.id)}`)}>${one.id}</a>
    <span class="sub">${one.host}, process ${one.pid}</span>` },
  { title: "State", class: "tight", show: (one) => html`<${WorkerState} state=${one.state ?? "running"} />
    ${one.blocked_seconds > 1 && html` <${Badge} tone="bad" icon="warning">blocked for ${span(one.blocked_seconds)}</${Badge}>`}` },
  { title: "Running", class: "tight", show: (one) => html`<${Meter} value=${one.running} most=${slotsOf(one)} label="Slots taken" /> <span class="number">
    ${one.running} <span class="faint">/ ${slotsOf(one)}</span></span>` },
  { title: "Queues", class: "hide-small", show: (one) => (one.queues.length ? one.queues.join(", ") : html`<span class="faint">all</span>`) },
  { title: "Handlers", class: "right tight hide-small", show: (one) => html`<span title=${one.handlers.join("\n")}>
    ${one.handlers.length}</span>` },
  { title: "Started", class: "right tight hide-small", show: (one) => html`<${Time} at=${one.started_at} />` },
  { title: "Heard of", class: "right tight", show: (one) => html`<span title=${one.seen_at}>
    ${span(Math.max(0, Math.round((now.value - Date.parse(one.seen_at)) / 1000)))} ago</span>` },
  { title: html`<span class="offscreen">Actions</span>`, class: "tight", show: (one) => html`<${Menu} small label=${`Actions of ${one.id}`} items=${workerMenu(one, refresh)} />` },
];
