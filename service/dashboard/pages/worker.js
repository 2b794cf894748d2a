// One worker: its processes with their slots and memory, the tasks that it runs, what it was told.
import { html } from "../html.js";
import { needing } from "../api.js";
import { bytes, span } from "../format.js";
import { to } from "../route.js";
import { now, usePolled, useTitle } from "../use.js";
import { quiet, resume, workerMenu } from "../workeractions.js";
import { Icon } from "../parts/icons.js";
import { Menu } from "../parts/menu.js";
import { Table } from "../parts/rows.js";
import { Answer, Badge, Empty, Facts, Head, Meter, Section, Time } from "../parts/shown.js";
import { WorkerState } from "./workers.js";

export function WorkerPage({ id }) {
  useTitle(id);
  const polled = usePolled(`/v1/workers/${encodeURIComponent(id)}`, 2);
  if (polled.problem?.status === 404) {
    return html`<${Empty} icon="workers" title="This worker is gone">It ended, or was not heard of for a while; its tasks were given to others. <a class="link" href=${to("/workers")}>Those that live</a></${Empty}>`;
  }
  return html`<${Answer} polled=${polled}>${(worker) => html`<${Whole} worker=${worker} refresh=${polled.refresh} />`}</${Answer}>`;
}

function Whole({ worker, refresh }) {
  const does = (doing) => () => Promise.resolve(doing(worker)).then(refresh);
  const command = worker.last_command;
  return html`
    <${Head} crumb=${html`<a href=${to("/workers")}>Workers</a>`} title=${worker.id} lead=${html`<${WorkerState} state=${worker.state} />`}>
      ${worker.state === "quiet" ? html`<button type="button" onClick=${does(resume)} ...${needing("workers:write")}><${Icon} name="play" size=${14} />Resume</button>`
        : html`<button type="button" disabled=${worker.state === "stopping"} onClick=${does(quiet)} ...${needing("workers:write")}>
          <${Icon} name="pause" size=${14} />Quiet</button>`}
      <${Menu} items=${workerMenu(worker, refresh).filter((one) => one.label !== "Look inside")} isMain /></${Head}>
    <div class="panel padded"><${Facts} rows=${[
      ["Machine", `${worker.host}, process ${worker.pid}`],
      ["Started", html`<${Time} at=${worker.started_at} />`],
      ["Heard of", `${span(Math.max(0, Math.round((now.value - Date.parse(worker.seen_at)) / 1000)))} ago`],
      ["Queues", worker.queues.length ? worker.queues.join(", ") : "all"],
      ...Object.entries(worker.versions).map(([name, version]) => [`Version of ${name}`, version]),
      command && ["Told last", html`${command.command}, <${Time} at=${command.sent_at} />`],
    ]} /></div>
    <${Section} title="Processes" id="processes">
      <${Table} rows=${worker.process_list} columns=${PROCESS} keyOf=${(one) => `${one.number} ${one.pid}`} label="Processes" /></${Section}>
    <${Section} title="Running tasks" id="running" aside=${html`<span class="faint">${worker.running}</span>`}>
      ${worker.tasks.length ? html`<${Table} rows=${worker.tasks} columns=${TASK} keyOf=${(one) => one.id} label="Running tasks" />` : html`<p class="muted">It runs nothing now.</p>`}</${Section}>
    ${worker.process_list.some((one) => one.children.length) && html`<${Section} title="Child processes" id="children">
      <${Table} rows=${worker.process_list.flatMap((one) => one.children.map((child) => ({ ...child, of: one.number })))} columns=${CHILD} keyOf=${(one) => one.pid} label="Child processes" /></${Section}>`}
    <${Section} title="Handlers" id="handlers"><span class="badges">
      ${worker.handlers.map((name) => html`<a class="badge" href=${to("/playground", { name })}>${name}</a>`)}</span></${Section}>`;
}

const beat = (seconds) => html`<span class=${seconds > 10 ? "grave" : ""}>${seconds === null ? "–" : `${span(seconds)} ago`}</span>`;
const LANES = { url: "URLs", async: "async", thread: "threads", process: "children", pull: "pull" };
const PROCESS = [
  { title: "No.", class: "tight", show: (one) => one.number },
  { title: "State", class: "tight", show: (one) => html`<${WorkerState} state=${one.state} />` },
  { title: "Slots", show: (one) => html`<span class="lanes">${Object.entries(one.slots).map(([lane, { size, busy }]) => html`<span>
    ${LANES[lane] ?? lane} <${Meter} value=${busy} most=${size} tone=${busy >= size && size ? "warn" : ""} label=${`${lane} slots taken`} /> <span class="number">
    ${busy}<span class="faint"> / ${size}</span></span></span>`)}</span>` },
  { title: "Memory", class: "right tight", show: (one) => bytes(one.rss_bytes) },
  { title: "Heartbeat", class: "right tight", show: (one) => beat(one.heartbeat_age_seconds) },
  { title: "Loop", class: "right tight", show: (one) => (one.blocked_seconds ? html`<${Badge} tone="bad" icon="warning">blocked ${span(one.blocked_seconds)}</${Badge}>` : html`<span class="faint">turns</span>`) },
  { title: "Process id", class: "right tight hide-small", show: (one) => one.pid ?? "–" },
];
const TASK = [
  { title: "Task", show: (one) => html`<a class="name" href=${to(`/tasks/${one.id}`)}>${one.name}</a><span class="sub mono">
    ${one.id}</span>` },
  { title: "Queue", class: "tight", show: (one) => one.queue },
  { title: "Lane", class: "tight hide-small", show: (one) => one.lane },
  { title: "Attempt", class: "right tight", show: (one) => one.attempt },
  { title: "Runs for", class: "right tight", show: (one) => html`${span(Math.max(0, (now.value - Date.parse(one.started_at)) / 1000))}${one.overdue_seconds > 0 && html` <${Badge} tone="bad">overdue</${Badge}>`}` },
  { title: "Heartbeat", class: "right tight", show: (one) => beat(one.heartbeat_age_seconds) },
];
const CHILD = [
  { title: "Process id", show: (one) => one.pid },
  { title: "Of process", class: "right tight", show: (one) => one.of },
  { title: "Memory", class: "right tight", show: (one) => bytes(one.rss_bytes) },
  { title: "Tasks so far", class: "right tight", show: (one) => one.tasks },
];
