// One task: where it stands and why, its attempts, what went in and came out, what it is tied to.
import { html } from "../html.js";
import { needing, queryOf, whyNot } from "../api.js";
import { bytes, nameOf, number, span } from "../format.js";
import { to } from "../route.js";
import { useTaskStream } from "../taskstream.js";
import { useKeys } from "../keys.js";
import { now, usePolled, useThrottled, useTitle } from "../use.js";
import { cancel, isEnded, menuOf, replay, replayWithEdits, runNow } from "../actions.js";
import { Attempts } from "../parts/attempts.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { Menu } from "../parts/menu.js";
import { TaskEvents } from "../parts/taskevents.js";
import { Timeline } from "../parts/timeline.js";
import { Answer, Badge, Code, Copy, Empty, Facts, Head, Loading, Meter, Mono, ProblemBox, Section, State, Time } from "../parts/shown.js";

const SOON_SECONDS = 2, LATER_SECONDS = 20;

export function TaskPage({ id }) {
  const path = `/v1/tasks/${id}`;
  // What has ended is as it is; of what is followed everything is told, and asking is for what that may have missed.
  const pace = (isOver) => (isOver ? null : stream.isLive ? LATER_SECONDS : SOON_SECONDS);
  const task = usePolled(path, (one) => pace(one !== null && isEnded(one)));
  const isOver = task.data !== null && isEnded(task.data);
  const attempts = usePolled(`${path}/attempts`, () => pace(isOver));
  const refresh = () => { task.refresh(); attempts.refresh(); };
  const stream = useTaskStream(id, task.data !== null && !isOver, useThrottled(refresh, 250));
  useTitle(task.data ? nameOf(task.data) : id);
  const act = (does) => () => task.data && Promise.resolve(does(task.data)).then(refresh);
  useKeys(whyNot("tasks:write") ? {} : { r: act((one) => isEnded(one) && replay(one)), e: act((one) => isEnded(one) && replayWithEdits(one)) });
  if (task.problem?.status === 404) {
    return html`<${Empty} icon="search" title="There is no such task">Ended tasks are kept for as long as their <code>result_ttl_seconds</code> says; this one may be gone. <a class="link" href=${to("/tasks")}>All tasks</a></${Empty}>`;
  }
  if (!task.data) return task.problem ? html`<${ProblemBox} problem=${task.problem} retry=${task.refresh} />` : html`<${Loading} rows=${6} />`;
  return html`<${Whole} task=${task.data} attempts=${attempts} refresh=${refresh} stream=${stream} />`;
}

function Whole({ task, attempts, refresh, stream }) {
  const does = (doing) => () => Promise.resolve(doing(task)).then(refresh);
  const progress = stream.progress ?? task.progress;
  return html`
    <${Head} crumb=${html`<a href=${to("/tasks")}>Tasks</a> / <a href=${to("/tasks", { q: `queue:${task.queue}` })}>
      ${task.queue}</a>`} title=${nameOf(task)}
      lead=${html`<span class="idline"><${State} state=${task.state} /><${Mono}>${task.id}</${Mono}>
        <${Copy} text=${task.id} small label="Copy the id" />
        ${stream.isLive && !isEnded(task) && html`<${Badge} tone="good">live</${Badge}>`}</span>`}>
      ${isEnded(task) && html`<button type="button" onClick=${does(replay)} ...${needing("tasks:write")}><${Icon} name="replay" size=${14} />Replay</button>`}
      ${task.state === "scheduled" && html`<button type="button" onClick=${does(runNow)} ...${needing("tasks:write")}>
        <${Icon} name="bolt" size=${14} />Run now</button>`}
      ${!isEnded(task) && html`<button type="button" disabled=${task.state === "cancelling"} onClick=${does(cancel)} ...${needing("tasks:write")}>
        <${Icon} name="cancel" size=${14} />Cancel</button>`}
      <${Menu} items=${menuOf(task, refresh)} isMain /></${Head}>
    ${!isEnded(task) && html`<${Explained} task=${task} />`}
    ${progress && !isEnded(task) && html`<${Progress} progress=${progress} />`}
    ${task.error && html`<${Failure} error=${task.error} isOver=${isEnded(task)} />`}
    ${task.unreadable && html`<p class="faint">What it carries cannot be shown: ${task.unreadable}</p>`}
    <${Timeline} task=${task} attempts=${attempts.data?.items ?? []} />
    <div class="split"><div class="column">
      <${Section} title="Attempts" id="attempts" aside=${attempts.data && html`<span class="faint">
        ${task.attempt} of ${task.retries + 1}</span>`}><${Answer} polled=${attempts} rows=${2}>
        ${(answer) => html`<${Attempts} attempts=${answer.items} task=${task} lines=${stream.lines} />`}</${Answer}></${Section}>
      <${Result} task=${task} />
      <${Given} task=${task} />
      <${TaskEvents} events=${stream.events} isLive=${stream.isLive} />
    </div>
    <aside class="column narrow" aria-label="About this task">
      <${Section} title="About it" id="about"><div class="panel padded"><${About} task=${task} /></div></${Section}>
      <${Linked} task=${task} />
    </aside></div>`;
}

function Explained({ task }) {
  const polled = usePolled(`/v1/tasks/${task.id}/explain`, task.state === "running" ? LATER_SECONDS : SOON_SECONDS);
  if (!polled.data) return null;
  const { summary, reasons, ahead } = polled.data;
  return html`<div class="explained"><${Icon} name="clock" /><div><strong>${summary}</strong>
    <${Reasons} reasons=${reasons} summary=${summary} />
    ${ahead > 0 && html`<p class="muted">About ${number(ahead)} of its queue go before it.</p>`}</div></div>`;
}

// One that the summary has said already adds only what would change it.
function Reasons({ reasons, summary }) {
  const told = reasons.map(({ detail, remedy }) => [detail === summary ? "" : detail, remedy]).filter(([detail, remedy]) => detail || remedy);
  return told.length > 0 && html`<ul>${told.map(([detail, remedy]) => html`<li>${detail} ${remedy && html`<span class="muted">
    ${remedy}</span>`}</li>`)}</ul>`;
}

const Progress = ({ progress }) => html`<div class="panel padded progress"><div><strong>${progress.message ?? "Working"}</strong>
  <span class="number muted">${number(progress.current)}${progress.total ? ` of ${number(progress.total)}` : ""}</span></div>
  ${progress.total ? html`<${Meter} tone="wide" value=${progress.current} most=${progress.total} label="Progress" />` : ""}</div>`;

const Failure = ({ error, isOver }) => html`<section class=${`failure ${isOver ? "" : "is-past"}`} aria-label="Error"><header>
  <${Icon} name="failed" /><strong>${error.type}</strong><span>${error.message}</span></header>
  ${error.traceback && html`<${Code} text=${error.traceback} label="traceback" lines=${12} />`}</section>`;

function Result({ task }) {
  if (task.state !== "succeeded") return null;
  const has = "result" in task;
  return html`<${Section} title="Result" id="result" aside=${has && html`<a class="link" href=${`/v1/tasks/${task.id}/result`} target="_blank" rel="noreferrer">as it is</a>`}>
    ${has ? html`<${Json} value=${task.result} label="result" />` : html`<p class="muted">It was not kept.</p>`}</${Section}>`;
}

function Given({ task }) {
  const body = task.body ?? task.body_text ?? task.body_base64;
  return html`${task.args && html`<${Section} title="Arguments" id="args"><${Json} value=${task.args} label="arguments" /></${Section}>`}
    ${task.headers && Object.keys(task.headers).length > 0 && html`<${Section} title="Header fields" id="headers">
      <${Json} value=${task.headers} label="header fields" /></${Section}>`}
    ${body !== undefined && html`<${Section} title="Body" id="body"><${Json} value=${body} label="body" /></${Section}>`}
    ${task.metadata && Object.keys(task.metadata).length > 0 && html`<${Section} title="Metadata" id="metadata">
      <${Json} value=${task.metadata} label="metadata" /></${Section}>`}`;
}

const About = ({ task }) => html`<${Facts} rows=${[
  ["Queue", html`<a href=${to(`/queues/${encodeURIComponent(task.queue)}`)}>${task.queue}</a>`],
  ["Priority", task.priority],
  ["Runs on", task.lane],
  ["Created", html`<${Time} at=${task.created_at} always />`],
  ["Due", html`<${Time} at=${task.run_at} always />`],
  task.started_at && ["Waited", span(Math.max(0, Date.parse(task.started_at) - Math.max(Date.parse(task.created_at), Date.parse(task.attempt > 1 ? task.started_at : task.run_at))) / 1000)],
  task.started_at && ["Ran", span(((task.finished_at ? Date.parse(task.finished_at) : now.value) - Date.parse(task.started_at)) / 1000)],
  task.finished_at && ["Ended", html`<${Time} at=${task.finished_at} always />`],
  ["Time limit", span(task.timeout_seconds)],
  task.soft_timeout_seconds && ["Warned after", span(task.soft_timeout_seconds)],
  ["Retries", `${task.retries}, within ${span(task.retry_for_seconds)}`],
  ["Lost workers", `${task.crashes} of ${task.max_crashes} that it may outlive`],
  ["Kept after its end", span(task.result_ttl_seconds)],
  task.worker && ["Worker", html`<a href=${to(`/workers/${encodeURIComponent(task.worker)}`)}>${task.worker}</a>`],
  task.checkpoint && ["Checkpoint", html`${bytes(task.checkpoint.bytes)}, <${Time} at=${task.checkpoint.at} />`],
  task.idempotency_key && ["Idempotency key", html`<${Mono}>${task.idempotency_key}</${Mono}>`],
  task.traceparent && ["Trace", html`<${Mono}>${task.traceparent.split("-")[1]}</${Mono}>`],
  task.namespace !== "default" && ["Namespace", task.namespace],
  task.tags.length > 0 && ["Tags", html`<span class="badges">
    ${task.tags.map((tag) => html`<a class="badge" href=${to("/tasks", { q: /\s/.test(tag) ? `tag:"${tag}"` : `tag:${tag}` })}>
    ${tag}</a>`)}</span>`],
]} />`;

const link = (id) => html`<a class="link mono" href=${to(`/tasks/${id}`)}>${id}</a>`;

function Linked({ task }) {
  const parts = usePolled(`/v1/tasks${queryOf({ parent: task.id, limit: 20 })}`, (found) => (isEnded(task) && found?.items.every(isEnded) ? null : LATER_SECONDS));
  const rows = [
    task.replay_of && ["Does once more", link(task.replay_of)],
    task.callback_of && ["Tells of the end of", link(task.callback_of)],
    task.callback && ["Callback", task.callback.task_id ? link(task.callback.task_id) : html`<span class="muted">
      ${task.callback.url}, when it has ${task.callback.on.join(" or ")}</span>`],
    task.parent && ["Part of", link(task.parent)],
    task.schedule && ["Schedule", html`<a class="link" href=${to(`/schedules/${encodeURIComponent(task.schedule.name)}`)}>
      ${task.schedule.name}</a>, <${Time} at=${task.schedule.fire_time} always />`],
    task.flow && ["Flow key", html`<${Mono}>${task.flow.key ?? task.flow}</${Mono}>`],
    ...(parts.data?.items ?? []).map((one) => ["Part", html`<span class="idline"><${State} state=${one.state} />${link(one.id)}</span>`]),
  ].filter(Boolean);
  if (!rows.length) return null;
  return html`<${Section} title="Linked" id="linked"><div class="panel padded"><${Facts} rows=${rows} /></div></${Section}>`;
}
