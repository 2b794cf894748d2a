// Backfills of a schedule: past ranges whose occurrences become tasks now. Counted first, watched and aborted here.
import { html, useEffect, useState } from "../html.js";
import { call, needing, part, post, Problem } from "../api.js";
import { number, plural } from "../format.js";
import { to } from "../route.js";
import { usePolled } from "../use.js";
import { askFor } from "./dialog.js";
import { Icon } from "./icons.js";
import { act } from "./toasts.js";
import { Badge, Meter, ProblemBox, Section, Time } from "./shown.js";

const TONES = { running: "note", done: "good", aborted: "warn" };
const ICONS = { running: "running", done: "check", aborted: "stop" };
const TYPED_MS = 250, SOON_SECONDS = 1, LATER_SECONDS = 10;

const moment = (text) => new Date(text).toISOString();
const rangeOf = ({ start, end }) => ({ start_at: moment(start), ...(end ? { end_at: moment(end) } : {}) });
const requestOf = (values) => ({ ...rangeOf(values), overlap: values.overlap, ...(values.rate ? { rate_per_second: Number(values.rate) } : {}) });

// How many occurrences the range has, as it is chosen; nothing is fired.
const countOf = (path) => function Count({ values }) {
  const [count, setCount] = useState(null);
  useEffect(() => {
    setCount(null);
    if (!values.start) return undefined;
    let isOver = false;
    const told = (found) => { if (!isOver) setCount(found); };
    const timer = setTimeout(() => post(`${path}/backfill`, { ...rangeOf(values), dry_run: true }).then(told, (cause) => { if (!(cause instanceof Problem)) throw cause; told({ problem: cause }); }), TYPED_MS);
    return () => { isOver = true; clearTimeout(timer); };
  }, [values.start, values.end]);
  if (count?.problem) return html`<${ProblemBox} problem=${count.problem} />`;
  return html`<div class="preview" aria-live="polite">${!count ? html`<span class="muted">How many occurrences it has shows here</span>`
    : html`<strong>${count.is_exact ? "" : "over "}${plural(count.total, "occurrence")}</strong>${count.total > 0 && html`<span class="muted">
      <${Time} at=${count.first_fire_time} always /> to <${Time} at=${count.last_fire_time} always /></span>`}`}</div>`;
};

const begin = (schedule, path) => askFor({
  title: `Backfill ${schedule.name}`, does: "Backfill", extra: countOf(path),
  text: "Each occurrence of a past range becomes a task now, as the schedule would have made it. Times are your local ones.",
  fields: [
    { name: "start", label: "From", kind: "datetime", required: true, autofocus: true },
    { name: "end", label: "To", kind: "datetime", hint: "Empty: now." },
    { name: "rate", label: "Tasks a second, at most", kind: "number", min: 0.01, max: 1000, placeholder: "10" },
    { name: "overlap", label: "Its tasks run", kind: "select", value: "allow", options: [{ value: "allow", label: "side by side" }, { value: "one_by_one", label: "one by one, each when the one before has ended" }] },
  ],
  work: (values) => post(`${path}/backfill`, requestOf(values)),
});

export function Backfills({ schedule }) {
  const path = `/v1/schedules/${part(schedule.name)}`;
  const polled = usePolled(`${path}/backfills`, (found) => (found?.items.some((one) => one.state === "running") ? SOON_SECONDS : LATER_SECONDS));
  const items = polled.data?.items ?? [];
  const abort = (one) => act(() => call("DELETE", `${path}/backfills/${one.id}`), "Aborted: tasks that it has made stay").then(polled.refresh);
  return html`<${Section} title="Backfills" id="backfills" aside=${html`<button type="button" class="small" onClick=${() => begin(schedule, path).then(polled.refresh)} ...${needing("schedules:write")}>
    <${Icon} name="plus" size=${14} />Backfill…</button>`}>
    <${ProblemBox} problem=${polled.problem} retry=${polled.refresh} />
    ${items.length ? html`<ol class="bulks">${items.map((one) => html`<${Row} key=${one.id} one=${one} abort=${abort} />`)}</ol>`
      : polled.data && html`<p class="muted">None. One makes up for a past range, such as a day on which something was down.</p>`}</${Section}>`;
}

const Row = ({ one, abort }) => html`<li class="panel padded bulk">
  <header><${Badge} tone=${TONES[one.state]} icon=${ICONS[one.state]}>${one.state}</${Badge}>
    <span><${Time} at=${one.start_at} always /> to <${Time} at=${one.end_at} always /></span>
    <span class="faint"><${Time} at=${one.created_at} /></span>
    ${one.state === "running" && html`<button type="button" class="small" onClick=${() => abort(one)} ...${needing("schedules:write")}><${Icon} name="stop" size=${14} />Abort</button>`}</header>
  <${Meter} tone="wide" value=${one.total ? one.done : 1} most=${Math.max(one.total, 1)} label="Progress" />
  <p><strong class="number">${number(one.done)}</strong> of ${plural(one.total, "occurrence")} fired, ${one.overlap === "allow" ? `at most ${number(one.rate_per_second)} a second` : "one by one"}
    ${one.last_task_id && html`; <a class="link" href=${to(`/tasks/${one.last_task_id}`)}>the last task</a>`}</p></li>`;
