// Queues: what waits in each, for how long, and what is set for it.
import { html, useRef } from "../html.js";
import { compact, span } from "../format.js";
import { to } from "../route.js";
import { usePolled, useTitle } from "../use.js";
import { curlOf } from "../curl.js";
import { queueMenu } from "../queueactions.js";
import { Flows } from "../parts/flows.js";
import { Spark } from "../parts/spark.js";
import { Menu } from "../parts/menu.js";
import { Table } from "../parts/rows.js";
import { Answer, Badge, Empty, Head, Meter } from "../parts/shown.js";

const MOST_POINTS = 60, SLOW_SECONDS = 60;
const pathOf = (name) => to(`/queues/${encodeURIComponent(name)}`);

// The depth of each queue over the last minutes: from the statistics where there are some, else what was seen here.
function useDepths(queues) {
  const seen = useRef(new Map());
  for (const one of queues ?? []) {
    const points = seen.current.get(one.name) ?? [];
    if (points.last !== queues) {
      points.push(one.queued);
      points.last = queues;
      if (points.length > MOST_POINTS) points.shift();
    }
    seen.current.set(one.name, points);
  }
  return seen.current;
}

export function Queues() {
  useTitle("Queues");
  const polled = usePolled("/v1/queues", 2);
  const depths = useDepths(polled.data?.items);
  return html`<${Head} title="Queues" lead="A worker takes from the queues that it serves, the highest priority first. What waits long here wants more workers, or has none." />
    <${Answer} polled=${polled}>
      ${({ items }) => (items.length ? html`<${Table} rows=${items} columns=${columnsOf(depths, polled.refresh)} label="Queues" />`
      : html`<${Empty} icon="queues" title="No queues yet" curl=${curlOf({ name: "demo.add", args: { a: 2, b: 3 }, queue: "mail" })}>A queue is there as soon as a task names it.</${Empty}>`)}</${Answer}>
    <${Flows} />`;
}

const columnsOf = (depths, refresh) => [
  { title: "Queue", show: (one) => html`<a class="name" href=${pathOf(one.name)}>
    ${one.name}</a> ${one.paused && html`<${Badge} tone="warn" icon="pause">paused</${Badge}>`}${one.draining && html`<${Badge} tone="warn" icon="stop">draining</${Badge}>`}` },
  { title: "Depth", show: (one) => html`<${Spark} points=${depths.get(one.name) ?? []} label=${`Depth of ${one.name}`} />`, class: "tight hide-small" },
  { title: "Queued", class: "right tight", show: (one) => html`<a href=${to("/tasks", { q: `queue:${one.name} state:queued` })}>
    ${compact(one.queued)}</a>` },
  { title: "Scheduled", class: "right tight", show: (one) => html`<a href=${to("/tasks", { q: `queue:${one.name} state:scheduled` })}>
    ${compact(one.scheduled)}</a>` },
  { title: "Running", class: "right tight", show: (one) => html`${one.settings.concurrency && html`<${Meter} value=${one.running} most=${one.settings.concurrency} label="Room taken" /> `}
    <a href=${to("/tasks", { q: `queue:${one.name} state:running` })}>${compact(one.running)}</a>
    ${one.settings.concurrency && html`<span class="faint"> / ${compact(one.settings.concurrency)}</span>`}` },
  { title: "Oldest waits", class: "right tight", show: (one) => html`<span class=${one.oldest_seconds > SLOW_SECONDS ? "grave" : ""}>
    ${span(one.oldest_seconds)}</span>` },
  { title: html`<span class="offscreen">Actions</span>`, class: "tight", show: (one) => html`<${Menu} small label=${`Actions of ${one.name}`} items=${queueMenu(one, refresh)} />` },
];
