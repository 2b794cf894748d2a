// One schedule: when in plain English, its next five times, what became of the last ones.
import { html } from "../html.js";
import { needing } from "../api.js";
import { localTime } from "../format.js";
import { to } from "../route.js";
import { usePolled, useTitle } from "../use.js";
import { edit, pause, resume, runNow, scheduleMenu } from "../scheduleactions.js";
import { Backfills } from "../parts/backfills.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { Menu } from "../parts/menu.js";
import { Table } from "../parts/rows.js";
import { Answer, Badge, Empty, Facts, Head, Mono, Section, State, Time } from "../parts/shown.js";
import { ScheduleState } from "./schedules.js";

export function SchedulePage({ name }) {
  useTitle(name);
  const polled = usePolled(`/v1/schedules/${encodeURIComponent(name)}`, 2);
  if (polled.problem?.status === 404) {
    return html`<${Empty} icon="schedules" title=${`There is no schedule ${name}`}>It was deleted, or is declared by code that no longer runs. <a class="link" href=${to("/schedules")}>All schedules</a></${Empty}>`;
  }
  return html`<${Answer} polled=${polled}>${(one) => html`<${Whole} one=${one} refresh=${polled.refresh} />`}</${Answer}>`;
}

function Whole({ one, refresh }) {
  const path = `/v1/schedules/${encodeURIComponent(one.name)}`;
  const runs = usePolled(`${path}/runs`, 3);
  const next = usePolled(`${path}/preview?count=5`, 10);
  const does = (doing) => () => Promise.resolve(doing(one)).then(() => { refresh(); runs.refresh(); next.refresh(); });
  return html`
    <${Head} crumb=${html`<a href=${to("/schedules")}>Schedules</a>`} title=${one.name} lead=${html`<span class="idline">
      <${ScheduleState} state=${one.state} /><strong>${one.explanation}</strong></span>${one.description && html`<br />
      ${one.description}`}`}>
      <button type="button" onClick=${does(runNow)} ...${needing("schedules:write")}><${Icon} name="bolt" size=${14} />Run now</button>
      ${one.paused ? html`<button type="button" onClick=${does(resume)} ...${needing("schedules:write")}>
        <${Icon} name="play" size=${14} />Resume</button>` : html`<button type="button" disabled=${one.state === "ended"} onClick=${does(pause)} ...${needing("schedules:write")}>
        <${Icon} name="pause" size=${14} />Pause</button>`}
      <button type="button" onClick=${does(edit)} ...${needing("schedules:write")}><${Icon} name="edit" size=${14} />Edit</button>
      <${Menu} items=${scheduleMenu(one, refresh)} isMain /></${Head}>
    <div class="split"><div class="column">
      <${Section} title="History" id="runs"><${Answer} polled=${runs} rows=${3}>
        ${({ items }) => (items.length ? html`<${Table} rows=${items} columns=${RUNS} keyOf=${(run) => `${run.fire_time} ${run.outcome} ${run.at}`} label="History" />` : html`<p class="muted">It has not fired yet.</p>`)}</${Answer}></${Section}>
      <${Backfills} schedule=${one} />
      <${Section} title="Task" id="task"><${Json} value=${one.task} label="task" /></${Section}>
    </div><aside class="column narrow" aria-label="About this schedule">
      <${Section} title="Next five" id="next">
        ${one.paused ? html`<p class="muted">It is paused.</p>` : html`<${Answer} polled=${next} rows=${2}>
        ${({ items }) => (items.length ? html`<ol class="panel padded nexts">${items.map((run) => html`<li><span title=${run.local_time}>${localTime(run.local_time)}</span>
        <span class="faint">
        <${Time} at=${run.run_at} /></span></li>`)}</ol>` : html`<p class="muted">There are no more.</p>`)}</${Answer}>`}</${Section}>
      <${Section} title="About it" id="about"><div class="panel padded"><${Facts} rows=${[
        one.cron && ["Cron", html`<${Mono}>${one.cron}</${Mono}>`],
        one.every_seconds && ["Every", `${one.every_seconds} s`],
        ["Time zone", one.timezone],
        ["Overlap", one.overlap],
        ["Missed ones", `${one.misfire}, when over ${one.misfire_grace_seconds} s late`],
        one.jitter_seconds && ["Jitter", `up to ${one.jitter_seconds} s`],
        one.start_at && ["From", html`<${Time} at=${one.start_at} always />`],
        one.end_at && ["Until", html`<${Time} at=${one.end_at} always />`],
        ["Fired", `${one.runs}${one.max_runs ? ` of ${one.max_runs}` : ""} times`],
        ["Owner", one.owner ? Object.values(one.owner).join(" ") : "made by the API"],
        one.also_declared_by && ["Also declared by", html`<${Badge} tone="warn">
          ${Object.values(one.also_declared_by).join(" ")}</${Badge}>`],
        ["Changed", html`<${Time} at=${one.updated_at} />`],
      ]} /></div></${Section}>
    </aside></div>`;
}

const WORDS = { run_by_hand: "run by hand", put_off: "put off" };
const TONES = { fired: "good", run_by_hand: "note", backfilled: "note", skipped: "warn", put_off: "warn", missed: "bad" };
const RUNS = [
  { title: "Occurrence", show: (run) => html`<${Time} at=${run.fire_time} always />` },
  { title: "What became of it", class: "tight", show: (run) => html`<${Badge} tone=${TONES[run.outcome]}>
    ${WORDS[run.outcome] ?? run.outcome}${run.missed > 1 ? ` × ${run.missed}` : ""}</${Badge}>` },
  { title: "Task", show: (run) => (run.task_id ? html`<a class="idline" href=${to(`/tasks/${run.task_id}`)}>
    ${run.task_state ? html`<${State} state=${run.task_state} />` : html`<span class="faint">no longer kept</span>`}<code class="mono">
    ${run.task_id.slice(-8)}</code></a>` : "–") },
  { title: "Decided", class: "right tight", show: (run) => html`<${Time} at=${run.at} />` },
];
