// Schedules: what recurs, when in plain English, how it went last.
import { html, useEffect, useState } from "../html.js";
import { needing, whyNot } from "../api.js";
import { query, setQuery, to } from "../route.js";
import { useKeys } from "../keys.js";
import { usePolled, useTitle } from "../use.js";
import { curlOf } from "../curl.js";
import { create, scheduleMenu } from "../scheduleactions.js";
import { Icon } from "../parts/icons.js";
import { Menu } from "../parts/menu.js";
import { Table } from "../parts/rows.js";
import { Answer, Badge, Empty, Head, State, Time } from "../parts/shown.js";

const TONES = { active: ["good", "check"], paused: ["warn", "pause"], ended: ["", "check"] };
export const ScheduleState = ({ state }) => html`<${Badge} tone=${TONES[state]?.[0]} icon=${TONES[state]?.[1]}>${state}</${Badge}>`;
const taskOf = (one) => one.task.name ?? one.task.url ?? "";

export function Schedules() {
  useTitle("Schedules");
  const [after, setAfter] = useState([]);
  const polled = usePolled(`/v1/schedules?limit=100${after.length ? `&cursor=${encodeURIComponent(after.at(-1))}` : ""}`, 3);
  useEffect(() => { if (query.value.new) { setQuery({ new: "" }); create(); } }, [query.value.new]);
  useKeys(whyNot("schedules:write") ? {} : { n: () => create() });
  return html`<${Head} title="Schedules" lead="Each occurrence makes one task, whatever number of schedulers runs.">
    <button type="button" class="primary" onClick=${() => create()} ...${needing("schedules:write")}><${Icon} name="plus" size=${14} />New schedule</button></${Head}>
    <${Answer} polled=${polled}>
      ${({ items, next_cursor }) => (items.length || after.length ? html`<${Table} rows=${items} columns=${columnsOf(polled.refresh)} label="Schedules" />
        <p class="more"><span>${items.length} on this page</span><span class="buttons">
          ${after.length > 0 && html`<button type="button" class="small" onClick=${() => setAfter(after.slice(0, -1))}>Back</button>`}${next_cursor && html`<button type="button" class="small" onClick=${() => setAfter([...after, next_cursor])}>Next page</button>`}</span></p>`
      : html`<${Empty} icon="schedules" title="Nothing recurs yet" curl=${curlOf({ cron: "0 3 * * *", task: { name: "demo.add", args: { a: 2, b: 3 } } }, { path: "/v1/schedules/nightly", method: "PUT" })}>Make one here, with this command, or in code: <code>@task(…, schedule=cron("0 3 * * *"))</code>.</${Empty}>`)}</${Answer}>`;
}

const columnsOf = (refresh) => [
  { title: "Schedule", show: (one) => html`<a class="name" href=${to(`/schedules/${encodeURIComponent(one.name)}`)}>${one.name}</a>
    <span class="sub">${taskOf(one)}</span>` },
  { title: "When", show: (one) => html`${one.explanation}<span class="sub">${one.cron ? html`<code>
    ${one.cron}</code> ` : ""}${one.timezone}</span>` },
  { title: "State", class: "tight", show: (one) => html`<${ScheduleState} state=${one.state} />` },
  { title: "Next", class: "right tight", show: (one) => html`<${Time} at=${one.next_run_at} />` },
  { title: "Last", class: "tight hide-small", show: (one) => (one.last_run ? html`<a class="idline" href=${to(`/tasks/${one.last_run.task_id}`)}>
    ${one.last_run.state ? html`<${State} state=${one.last_run.state} />` : ""}
    <${Time} at=${one.last_run.fire_time} /></a>` : html`<span class="faint">never</span>`) },
  { title: html`<span class="offscreen">Actions</span>`, class: "tight", show: (one) => html`<${Menu} small label=${`Actions of ${one.name}`} items=${scheduleMenu(one, refresh)} />` },
];
