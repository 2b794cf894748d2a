// Overview: how it is now, and how it went in the last hour to seven days.
import { html } from "../html.js";
import { queryOf } from "../api.js";
import { bytes, compact, percent, plural, span } from "../format.js";
import { query, setQuery, to } from "../route.js";
import { usePolled, useTitle } from "../use.js";
import { curlOf } from "../curl.js";
import { Chart } from "../parts/chart.js";
import { Icon } from "../parts/icons.js";
import { Table } from "../parts/rows.js";
import { Answer, Empty, Figure, Head, Meter, ProblemBox, Section } from "../parts/shown.js";
import { Slowest } from "../parts/slowest.js";

const RANGES = [["1 h", 3600], ["6 h", 21_600], ["24 h", 86_400], ["7 d", 604_800]];
const STEP_SECONDS = { 3600: 60, 21_600: 600, 86_400: 600, 604_800: 3600 };
const WORRY_SECONDS = 60, WORRY_RATE = 0.05, WORRY_MEMORY = 0.8;

export function Overview() {
  useTitle("Overview");
  const last = Number(query.value.last ?? 3600);
  const overview = usePolled("/v1/overview", 2);
  const stats = usePolled(`/v1/stats${queryOf({ last_seconds: last, step_seconds: STEP_SECONDS[last], top: 8 })}`, last > 3600 ? 30 : 5);
  const isNew = stats.data && !stats.data.totals.submitted && overview.data && !overview.data.tasks.queued && !overview.data.tasks.scheduled && !overview.data.tasks.running;
  return html`<${Head} title="Overview"><div class="segments" role="group" aria-label="How far back">
    ${RANGES.map(([word, seconds]) => html`<button type="button" aria-pressed=${last === seconds} onClick=${() => setQuery({ last: seconds === 3600 ? "" : seconds })}>
    ${word}</button>`)}</div></${Head}>
    <${Warnings} warnings=${overview.data?.warnings ?? []} />
    <${ProblemBox} problem=${stats.problem} retry=${stats.refresh} />
    <${Answer} polled=${overview}>${(data) => html`<${Now} overview=${data} totals=${stats.data?.totals} />`}</${Answer}>
    ${isNew && html`<${Empty} icon="overview" title="Ready for the first task" curl=${curlOf({ name: "demo.add", args: { a: 2, b: 3 } })}>Submit one with this command or in the <a class="link" href=${to("/playground")}>playground</a>, and watch it here.</${Empty}>`}
    ${stats.data && !isNew && html`<${Charts} stats=${stats.data} />`}
    <div class="split even">
      ${overview.data && html`<${Queues} overview=${overview.data} />`}${stats.data && html`<${Failing} stats=${stats.data} />`}</div>
    ${stats.data && !isNew && html`<${Slowest} last=${last} />`}
    ${overview.data && html`<${Machine} overview=${overview.data} />`}`;
}

const Warnings = ({ warnings }) => warnings.length > 0 && html`<div role="alert"><ul class="warnings" aria-label="Warnings">
  ${warnings.map((one) => html`<li><${Icon} name="warning" />${one}</li>`)}</ul></div>`;

const Now = ({ overview: { tasks }, totals }) => html`<div class="figures eight">
  <${Figure} label="Running" value=${compact(tasks.running)} note="now" href=${to("/tasks", { q: "state:running" })} />
  <${Figure} label="Queued" value=${compact(tasks.queued)} tone=${tasks.oldest_seconds > WORRY_SECONDS ? "warn" : ""} note=${tasks.oldest_seconds === null ? "nothing waits" : `the oldest for ${span(tasks.oldest_seconds)}`} href=${to("/tasks", { q: "state:queued" })} />
  <${Figure} label="Scheduled" value=${compact(tasks.scheduled)} note="due later" href=${to("/tasks", { q: "state:scheduled" })} />
  ${totals && html`<${Figure} label="Succeeded" value=${compact(totals.succeeded)} note=${endedIn(totals.ended_per_second)} href=${to("/tasks", { q: "state:succeeded" })} />
    <${Figure} label="Failed" value=${compact(totals.failed)} tone=${totals.error_rate > WORRY_RATE ? "bad" : ""} note=${`${percent(totals.error_rate)} of those that ended`} href=${to("/dead")} />
    <${Figure} label="Retried" value=${compact(totals.retried)} note=${totals.crashed ? `${plural(totals.crashed, "worker crash", "worker crashes")}` : "attempts"} />
    <${Figure} label="Waited, p95" value=${span(totals.wait.p95_seconds)} note=${`p50 ${span(totals.wait.p50_seconds)}, p99 ${span(totals.wait.p99_seconds)}`} />
    <${Figure} label="Ran, p95" value=${span(totals.run.p95_seconds)} note=${`p50 ${span(totals.run.p50_seconds)}, p99 ${span(totals.run.p99_seconds)}`} />`}
</div>`;
// In the unit in which it is a number that one can imagine.
function endedIn(aSecond) {
  const [each, seconds] = aSecond >= 0.5 || aSecond === 0 ? ["a second", 1] : aSecond * 60 >= 0.5 ? ["a minute", 60] : ["an hour", 3600];
  const value = aSecond * seconds;
  return `${value >= 100 ? compact(Math.round(value)) : Number(value.toPrecision(2))} ended ${each}`;
}

function Charts({ stats: { series, step_seconds } }) {
  const at = series.map((one) => Date.parse(one.begins_at) / 1000);
  const of = (field) => series.map((one) => one.figures[field]);
  const wait = (field) => series.map((one) => one.figures.wait[field]);
  const run = (field) => series.map((one) => one.figures.run[field]);
  const perStep = step_seconds === 60 ? "a minute" : `each ${span(step_seconds)}`;
  return html`<div class="charts">
    <${Section} title="Throughput" id="throughput" aside=${html`<span class="faint">tasks ${perStep}</span>`}><div class="panel padded">
      <${Chart} label="Throughput" at=${at} lines=${[
      { name: "submitted", values: of("submitted"), tone: "blue" }, { name: "succeeded", values: of("succeeded"), tone: "green", isFilled: true }, { name: "failed", values: of("failed"), tone: "red" }, { name: "retried", values: of("retried"), tone: "orange" }]} /></div></${Section}>
    <${Section} title="Depth" id="depth" aside=${html`<span class="faint">tasks</span>`}><div class="panel padded">
      <${Chart} label="Depth" at=${at} lines=${[
      { name: "queued", values: series.map((one) => one.queued), tone: "orange", isFilled: true }, { name: "running", values: series.map((one) => one.running), tone: "blue" }, { name: "scheduled", values: series.map((one) => one.scheduled), tone: "faint" }]} /></div></${Section}>
    <${Section} title="Waiting time" id="wait" aside=${html`<span class="faint">until an attempt began</span>`}><div class="panel padded">
      <${Chart} label="Waiting time" format=${span} at=${at} lines=${[
      { name: "p50", values: wait("p50_seconds"), tone: "green" }, { name: "p95", values: wait("p95_seconds"), tone: "blue" }, { name: "p99", values: wait("p99_seconds"), tone: "orange" }]} /></div></${Section}>
    <${Section} title="Run time" id="run" aside=${html`<span class="faint">of attempts</span>`}><div class="panel padded">
      <${Chart} label="Run time" format=${span} at=${at} lines=${[
      { name: "p50", values: run("p50_seconds"), tone: "green" }, { name: "p95", values: run("p95_seconds"), tone: "blue" }, { name: "p99", values: run("p99_seconds"), tone: "orange" }]} /></div></${Section}>
  </div>`;
}

// What is beyond those that are counted one by one has no page.
const OTHER = "(other)";
const Named = ({ name, href }) => (name === OTHER ? html`<span class="muted">all others</span>` : html`<a class="name" href=${href}>${name}</a>`);

const Queues = ({ overview: { queues } }) => html`<${Section} title="Queues that hold tasks" id="queues" aside=${html`<a class="link" href=${to("/queues")}>All queues</a>`}>
  ${queues.length ? html`<${Table} label="Queues" rows=${queues.slice(0, 8)} columns=${[
    { title: "Queue", show: (one) => html`<${Named} name=${one.name} href=${to(`/queues/${encodeURIComponent(one.name)}`)} />` },
    { title: "Queued", class: "right tight", show: (one) => compact(one.queued) },
    { title: "Running", class: "right tight", show: (one) => compact(one.running) },
    { title: "Oldest waits", class: "right tight", show: (one) => html`<span class=${one.oldest_seconds > WORRY_SECONDS ? "grave" : ""}>
      ${span(one.oldest_seconds)}</span>` }]} />` : html`<p class="panel padded muted">Every queue is empty.</p>`}</${Section}>`;

const Failing = ({ stats: { failing } }) => html`<${Section} title="What fails" id="failing" aside=${html`<a class="link" href=${to("/dead")}>Dead letters</a>`}>
  ${failing.length ? html`<${Table} label="What fails" rows=${failing} columns=${[
    { title: "Name", show: (one) => html`<${Named} name=${one.name} href=${to("/tasks", { q: /^https?:/.test(one.name) ? "state:failed" : `state:failed name:${one.name}` })} /><span class="sub">
      ${one.errors.slice(0, 2).map((error) => `${error.type} × ${compact(error.count)}`).join(", ")}</span>` },
    { title: "Failed", class: "right tight", show: (one) => compact(one.figures.failed) },
    { title: "Retried", class: "right tight", show: (one) => compact(one.figures.retried) },
    { title: "Rate", class: "right tight", show: (one) => percent(one.figures.error_rate) }]} />` : html`<p class="panel padded muted">Nothing failed in this time.</p>`}</${Section}>`;

function Machine({ overview: { workers, redis, version } }) {
  const share = redis.most_bytes ? redis.used_bytes / redis.most_bytes : null;
  return html`<div class="figures">
    <${Figure} label="Workers" value=${workers.live} tone=${workers.live ? "" : "bad"} note=${workers.quiet ? `${workers.quiet} of them quiet` : `${workers.running} of ${Object.values(workers.slots).reduce((sum, n) => sum + n, 0)} slots taken`} href=${to("/workers")} />
    <${Figure} label="Memory of the store" value=${bytes(redis.used_bytes)} tone=${share > WORRY_MEMORY ? "bad" : ""} note=${share === null ? "no bound is set" : html`<${Meter} value=${share} most=${1} tone=${share > WORRY_MEMORY ? "bad" : ""} label="Memory used" /> of ${bytes(redis.most_bytes)}`} />
    <${Figure} label="Persistence" value=${redis.is_append_only === null ? "–" : redis.is_append_only ? "Append-only" : "None"} tone=${redis.is_append_only === false ? "warn" : ""} note=${redis.is_append_only === false ? "a restart loses tasks" : "each second to disk"} />
    <${Figure} label="Store" value=${redis.server.split(" ")[0]} note=${`${redis.server.split(" ").slice(1).join(" ")}${redis.servers > 1 ? `, ${redis.servers} servers` : ""}`} />
    <${Figure} label="Taskpost" value=${version} note=${html`<a href="/openapi.yaml" target="_blank" rel="noreferrer">contract</a>`} /></div>`;
}
