// One queue: what waits and runs, who holds it, how it went lately, what is set for it.
import { html } from "../html.js";
import { needing, queryOf } from "../api.js";
import { compact, percent, span } from "../format.js";
import { to } from "../route.js";
import { usePolled, useTitle } from "../use.js";
import { editSettings, pause, queueMenu, resume } from "../queueactions.js";
import { Chart } from "../parts/chart.js";
import { QueueFlows } from "../parts/flows.js";
import { Groups } from "../parts/groups.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { Menu } from "../parts/menu.js";
import { Answer, Badge, Empty, Figure, Head, Section, Time } from "../parts/shown.js";
import { Tasks } from "./tasks.js";

export function QueuePage({ name }) {
  useTitle(name);
  const polled = usePolled(`/v1/queues/${encodeURIComponent(name)}`, 2);
  if (polled.problem?.status === 404) {
    return html`<${Empty} icon="queues" title=${`There is no queue ${name} now`}>A queue is there while tasks wait or run in it, or something is set for it. <a class="link" href=${to("/queues")}>All queues</a></${Empty}>`;
  }
  return html`<${Answer} polled=${polled}>${(queue) => html`<${Whole} queue=${queue} refresh=${polled.refresh} />`}</${Answer}>`;
}

function Whole({ queue, refresh }) {
  const does = (doing) => () => Promise.resolve(doing(queue)).then(refresh);
  const waits = `queue:${queue.name}`;
  return html`
    <${Head} crumb=${html`<a href=${to("/queues")}>Queues</a>`} title=${queue.name} lead=${isTold(queue) && html`<${Held} queue=${queue} />`}>
      ${queue.paused || queue.draining ? html`<button type="button" onClick=${does(resume)} ...${needing("queues:write")}>
        <${Icon} name="play" size=${14} />Resume</button>` : html`<button type="button" onClick=${does(pause)} ...${needing("queues:write")}>
        <${Icon} name="pause" size=${14} />Pause</button>`}
      <${Menu} items=${queueMenu(queue, refresh)} /></${Head}>
    <div class="figures">
      <${Figure} label="Queued" value=${compact(queue.queued)} note="due, wait for a worker" href=${to("/tasks", { q: `${waits} state:queued` })} />
      <${Figure} label="Scheduled" value=${compact(queue.scheduled)} note="not due yet" href=${to("/tasks", { q: `${waits} state:scheduled` })} />
      <${Figure} label="Running" value=${compact(queue.running)} note="now" href=${to("/tasks", { q: `${waits} state:running` })} />
      <${Figure} label="Oldest waits" value=${span(queue.oldest_seconds)} note="at the head of the queue" />
    </div>
    <${History} name=${queue.name} />
    <${Groups} queue=${queue.name} />
    <${QueueFlows} queue=${queue.name} />
    <${Section} title="Settings" id="settings" aside=${html`<button type="button" class="small" onClick=${does(editSettings)} ...${needing("queues:write")}>
      <${Icon} name="edit" size=${14} />Edit</button>`}>
      ${Object.keys(queue.settings).length ? html`<${Json} value=${queue.settings} label="settings" />` : html`<p class="muted">Nothing is set: its tasks have the defaults of their handlers and of the service.</p>`}</${Section}>
    <${Tasks} fixed=${waits} isPart />`;
}

const isTold = (queue) => queue.paused || queue.draining || queue.settings.description;

// Who holds or closes it, and why.
const Held = ({ queue }) => html`<span class="idline">
  ${queue.paused && html`<${Badge} tone="warn" icon="pause">paused: nothing new starts</${Badge}><span>${queue.paused_reason ?? ""}</span>
    <span class="faint">${queue.paused_by} <${Time} at=${queue.paused_at} /></span>`}
  ${queue.draining && html`<${Badge} tone="warn" icon="stop">draining: nothing is taken in</${Badge}><span>
    ${queue.draining_reason ?? ""}</span><span class="faint">${queue.draining_by} <${Time} at=${queue.draining_at} /></span>`}
  ${queue.settings.description ?? ""}</span>`;

function History({ name }) {
  const polled = usePolled(`/v1/stats${queryOf({ queue: name, last_seconds: 3600 })}`, 15);
  if (!polled.data) return null;
  const { series, totals } = polled.data;
  const at = series.map((one) => Date.parse(one.begins_at) / 1000);
  return html`<${Section} title="Last hour" id="history" aside=${html`<span class="faint">
    ${percent(totals.error_rate)} failed · waited ${span(totals.wait.p95_seconds)}, ran ${span(totals.run.p95_seconds)} (p95)</span>`}>
    <div class="panel padded"><${Chart} label="Tasks of this queue" at=${at} lines=${[
      { name: "queued", values: series.map((one) => one.queued), tone: "orange" },
      { name: "ended", values: series.map((one) => one.figures.succeeded + one.figures.failed), tone: "green" },
      { name: "failed", values: series.map((one) => one.figures.failed), tone: "red" }]} /></div></${Section}>`;
}
