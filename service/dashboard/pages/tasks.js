// Tasks: found by the query bar, all of it in the address; live until somebody reads, selects or looks away.
import { html, useEffect, useMemo, useState } from "../html.js";
import { needing, whyNot } from "../api.js";
import { nameOf, plural, span } from "../format.js";
import { go, query, setQuery, to } from "../route.js";
import { useKeys } from "../keys.js";
import { parse, qualifier, withQualifier } from "../search.js";
import { useTasks } from "../tasklist.js";
import { now, useTitle } from "../use.js";
import { cancel, isEnded, replay } from "../actions.js";
import { ACTIONS, begin, filterFor } from "../bulk.js";
import { streamState } from "../live.js";
import { curlOf } from "../curl.js";
import { Icon } from "../parts/icons.js";
import { Menu } from "../parts/menu.js";
import { QueryBar } from "../parts/querybar.js";
import { Rows } from "../parts/rows.js";
import { Empty, Head, Loading, ProblemBox, State, Time } from "../parts/shown.js";

const LISTED = ["scheduled", "queued", "running", "succeeded", "failed", "cancelled"];
const HOUR_MS = 3_600_000;

// How long it has run or ran; of one that waits, nothing.
function Ran({ task }) {
  if (!task.started_at || !(task.finished_at || task.state === "running")) return null;
  const until = task.finished_at ? Date.parse(task.finished_at) : now.value;
  return html`<span>${span((until - Date.parse(task.started_at)) / 1000)}</span>`;
}

const columnsOf = (selected, toggle) => [
  { name: "choose", title: html`<span class="offscreen">Selected</span>`, width: "38px", show: (task) => html`<input type="checkbox" aria-label=${`Select ${task.id}`} checked=${selected.has(task.id)} onClick=${(event) => { event.stopPropagation(); toggle(task.id); }} />` },
  { name: "state", title: "State", width: "118px", show: (task) => html`<${State} state=${task.state} />` },
  { name: "name", title: "Task", width: "34%", show: (task) => html`<a class="name" href=${to(`/tasks/${task.id}`)}>${nameOf(task)}</a>
    ${task.error && html`<span class="row-note" title=${task.error.message}>
    ${task.error.type}: ${task.error.message}</span>`}${task.tags.slice(0, 3).map((tag) => html`<span class="tag">${tag}</span>`)}` },
  { name: "queue", title: "Queue", width: "13%", show: (task) => html`<a href=${to(`/queues/${encodeURIComponent(task.queue)}`)}>
    ${task.queue}</a>` },
  { name: "attempt", title: "Attempt", width: "76px", right: true, show: (task) => (task.attempt ? html`<span title=${`attempt ${task.attempt} of ${task.retries + 1}`}>
    ${task.attempt}<span class="faint"> / ${task.retries + 1}</span></span>` : html`<span class="faint">–</span>`) },
  { name: "ran", title: "Ran", width: "84px", right: true, show: (task) => html`<${Ran} task=${task} />` },
  { name: "when", title: "Created", width: "128px", right: true, show: (task) => html`<${Time} at=${task.created_at} />` },
  { name: "due", title: "Due or ended", width: "128px", right: true, show: (task) => html`<${Time} at=${task.finished_at ?? (task.state === "scheduled" ? task.run_at : null)} />` },
];

export function Tasks({ fixed = "", title = "Tasks", lead, empty, isPart = false }) {
  useTitle(isPart ? fixed : title);
  const text = query.value.q ?? "";
  const filter = useFilter([fixed, text].filter(Boolean).join(" "));
  const [selected, setSelected] = useState(() => new Set());
  const [at, setAt] = useState(-1);
  const [isAway, setAway] = useState(false);
  const [isPaused, setPaused] = useState(false);
  const list = useTasks(filter.filter, isPaused || isAway || selected.size > 0);
  const { rows } = list;
  useEffect(() => { setSelected(new Set()); setAt(-1); }, [text]);
  useEffect(() => { if (filter.id) go(to(`/tasks/${filter.id}`)); }, [filter.id]);
  const toggle = (id) => setSelected((last) => { const next = new Set(last); if (!next.delete(id)) next.add(id); return next; });
  const chosen = rows.filter((row) => selected.has(row.id));
  const open = (row) => row && go(to(`/tasks/${row.id}`));
  const done = () => { setSelected(new Set()); list.refresh(); };
  const each = async (doing, fits) => { for (const task of chosen.length ? chosen.filter(fits) : [rows[at]].filter((one) => one && fits(one))) await doing(task); done(); };
  useKeys({
    j: () => setAt(Math.min(at + 1, rows.length - 1)), k: () => setAt(Math.max(at - 1, 0)),
    ArrowDown: () => setAt(Math.min(at + 1, rows.length - 1)), ArrowUp: () => setAt(Math.max(at - 1, 0)),
    x: () => rows[at] && toggle(rows[at].id), Enter: () => open(rows[at]), a: () => setSelected(new Set(rows.map((row) => row.id))),
    Escape: () => setSelected(new Set()),
    ...(whyNot("tasks:write") ? {} : { r: () => each(replay, isEnded) }),
  });
  const columns = useMemo(() => columnsOf(selected, toggle), [selected]);
  const isEmpty = !list.isLoading && !rows.length && !list.problem && list.isWhole;
  return html`
    <${Head} title=${title} lead=${lead} isPart=${isPart}>
      <${LiveSwitch} list=${list} isPaused=${isPaused} setPaused=${setPaused} isAway=${isAway} hasChosen=${selected.size > 0} />
      <${Menu} label="All that match" isMain items=${Object.entries(ACTIONS).map(([action, [name, icon, isGrave]]) => {
        const wanted = filterFor(action, filter.filter);
        return { label: `${name}…`, icon, isGrave, isOff: !wanted || filter.faults.length > 0, hint: wanted ? "" : "not possible in these states", needs: "tasks:write", does: () => begin(action, wanted, done) };
      })} /></${Head}>
    <div class="finder"><${QueryBar} label="Search tasks" text=${text} faults=${filter.faults} change=${(q) => setQuery({ q })} />
      ${!fixed && html`<${StateFilter} text=${text} />`}</div>
    <${ProblemBox} problem=${list.problem} retry=${list.refresh} />
    ${selected.size > 0 && html`<${Chosen} chosen=${chosen} clear=${() => setSelected(new Set())} each=${each} filter=${filter.filter} done=${done} />`}
    ${list.isLoading && !rows.length ? html`<${Loading} rows=${8} />`
      : isEmpty ? html`<${Nothing} text=${text} empty=${empty} />`
      : html`<div><${Rows} rows=${rows} columns=${columns} keyOf=${(row) => row.id} label=${title} atRow=${at} total=${list.isWhole ? rows.length : -1} rowClass=${(row) => (selected.has(row.id) ? "is-chosen" : "")}
          onEnd=${list.more} onScrolled=${setAway} onRow=${(row, n, event) => { if (event.target.closest("a, input, button")) return; setAt(n); open(row); }} />
        <p class="more"><span>${plural(rows.length, "task")} ${list.isWhole ? "in all" : "loaded; more as you scroll"}</span><span>
          <kbd>j</kbd> <kbd>k</kbd> move, <kbd>x</kbd> select, <kbd>Enter</kbd> open, <kbd>r</kbd> replay</span></p></div>`}`;
}

// The filter of *text*; its times move on only when the text changes, or every page would be of another list.
function useFilter(text) {
  const [base, setBase] = useState(() => ({ text, at: now.peek() }));
  const current = base.text === text && now.peek() - base.at < HOUR_MS ? base : { text, at: now.peek() };
  useEffect(() => { if (current !== base) setBase(current); });
  return useMemo(() => parse(text, current.at), [text, current.at]);
}

function StateFilter({ text }) {
  const state = qualifier(text, "state");
  return html`<div class="segments" role="group" aria-label="State">
    ${["", ...LISTED].map((one) => html`<button type="button" aria-pressed=${state === one} onClick=${() => setQuery({ q: withQualifier(text, "state", one) })}>
      ${one ? html`<${Icon} name=${one} size=${13} />${one}` : "all"}</button>`)}</div>`;
}

function LiveSwitch({ list, isPaused, setPaused, isAway, hasChosen }) {
  const why = isPaused ? "Paused" : hasChosen ? "Paused while you select" : isAway ? "Paused while you read" : "";
  const word = why || (streamState.value === "live" ? "Live" : "Refreshing");
  return html`<button type="button" aria-pressed=${isPaused} class="live" title=${why ? "Go on" : "Hold the list still"} onClick=${() => { if (why && !isPaused) document.querySelector(".virtual")?.scrollTo({ top: 0 }); setPaused(!isPaused && !why); list.refresh(); }}>
    <span class=${`pulse pulse-${why ? "off" : streamState.value}`}><i></i></span>
      ${word}${list.waiting > 0 && html`<span class="badge note">${plural(list.waiting, "change")}</span>`}</button>`;
}

function Chosen({ chosen, clear, each, filter, done }) {
  const can = { replay: chosen.some(isEnded), cancel: chosen.some((one) => !isEnded(one)) };
  return html`<div class="chosen" role="toolbar" aria-label="Selected tasks"><strong>${plural(chosen.length, "task")} selected</strong>
    <button type="button" class="small" disabled=${!can.replay} onClick=${() => each(replay, isEnded)} ...${needing("tasks:write")}>
      <${Icon} name="replay" size=${14} />Replay</button>
    <button type="button" class="small" disabled=${!can.cancel} onClick=${() => each(cancel, (one) => !isEnded(one))} ...${needing("tasks:write")}>
      <${Icon} name="cancel" size=${14} />Cancel</button>
    <span class="muted">or take all that match, loaded or not:</span>
    ${["replay", "cancel", "delete"].map((action) => { const wanted = filterFor(action, filter); return wanted && html`<button type="button" class="small quiet" onClick=${() => begin(action, wanted, done)} ...${needing("tasks:write")}>
      ${ACTIONS[action][0]} all…</button>`; })}
    <button type="button" class="small quiet" onClick=${clear}>Select none <kbd>Esc</kbd></button></div>`;
}

const Nothing = ({ text, empty }) => (text
  ? html`<${Empty} icon="search" title="No task matches">Take a word away, or look at <a class="link" href=${to("/tasks")}>all tasks</a>. Ended tasks are kept for as long as their <code>result_ttl_seconds</code> says.</${Empty}>`
  : empty ?? html`<${Empty} title="No tasks yet" curl=${curlOf({ name: "demo.add", args: { a: 2, b: 3 } })}>Submit one with this command, or with a form in the <a class="link" href=${to("/playground")}>playground</a>. It appears here as it moves.</${Empty}>`);
