// Live tail: every change of state as it happens, filtered as one types, held while one reads.
import { html, useEffect, useRef, useState } from "../html.js";
import { compact, nameOf } from "../format.js";
import { query, setQuery, to } from "../route.js";
import { useKeys } from "../keys.js";
import { listen, streamState } from "../live.js";
import { countOf } from "../tasklist.js";
import { useThrottled, useTitle } from "../use.js";
import { curlOf } from "../curl.js";
import { Icon } from "../parts/icons.js";
import { Rows } from "../parts/rows.js";
import { Empty, Head, State, STATES, Time } from "../parts/shown.js";

// Rows that jump at every frame cannot be read: new ones come a few times a second.
const MOST = 2000, RATE_MS = 1000, SHOWN_MS = 300;

const fits = (event, text, state) => (!state || event.state === state) && (!text || `${event.id} ${nameOf(event)} ${event.queue} ${(event.tags ?? []).join(" ")}`.toLowerCase().includes(text));

export function Tail() {
  useTitle("Live tail");
  const text = (query.value.q ?? "").toLowerCase(), state = query.value.state ?? "";
  const [events, setEvents] = useState([]);
  const [isPaused, setPaused] = useState(false);
  const [isAway, setAway] = useState(false);
  const [rate, setRate] = useState(0);
  const held = useRef({ waiting: [], n: 0, count: 0 });
  const isHeld = isPaused || isAway;
  held.current.isHeld = isHeld;
  const show = useThrottled(() => {
    const { waiting } = held.current;
    if (held.current.isHeld || !waiting.length) return;
    held.current.waiting = [];
    setEvents((last) => [...waiting, ...last].slice(0, MOST));
  }, SHOWN_MS);
  useEffect(() => listen((heard) => {
    held.current.count += countOf(heard);
    const named = heard.filter((event) => event.id).map((event) => ({ ...event, key: (held.current.n += 1) })).reverse();
    held.current.waiting = [...named, ...held.current.waiting].slice(0, MOST);
    show();
  }), []);
  useEffect(() => {
    const timer = setInterval(() => { setRate(held.current.count); held.current.count = 0; }, RATE_MS);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => { if (!isHeld) show(); }, [isHeld]);
  useKeys({ " ": () => setPaused(!isPaused) });
  const shown = events.filter((event) => fits(event, text, state));
  return html`<${Head} title="Live tail" lead="Changes of state and progress of every task, the newest first; when more happens than a screen can show, the last of each task.">
      <span class="faint number" aria-hidden="true">${compact(rate)} a second</span>
      <button type="button" aria-pressed=${isPaused} onClick=${() => setPaused(!isPaused)}>
        <${Icon} name=${isPaused ? "play" : "pause"} size=${14} />${isPaused ? "Go on" : isAway ? "Held while you read" : "Pause"}</button>
      <button type="button" onClick=${() => { setEvents([]); held.current.waiting = []; }}>Clear</button></${Head}>
    <div class="finder"><div class="querybar"><${Icon} name="search" size=${14} />
      <input data-search type="text" aria-label="Filter events" placeholder="A part of a name, id, queue or tag" value=${query.value.q ?? ""} onInput=${(event) => setQuery({ q: event.target.value })} /></div>
      <select aria-label="State" class="narrow-select" value=${state} onChange=${(event) => setQuery({ state: event.target.value })}>
        <option value="">every state</option>${STATES.map((one) => html`<option value=${one} selected=${one === state}>
        ${one}</option>`)}</select></div>
    ${streamState.value === "absent" ? html`<${Empty} icon="tail" title="This service has no event stream">It runs a version of Taskpost without <code>/v1/events</code>. <a class="link" href=${to("/tasks")}>Tasks</a> refreshes by itself.</${Empty}>`
      : events.length ? html`<${Rows} rows=${shown} columns=${COLUMNS} keyOf=${(event) => event.key} rowClass=${() => ""} onScrolled=${setAway} label="Events" />`
      : html`<${Empty} icon="tail" title="Listening" curl=${curlOf({ name: "demo.progress", args: { steps: 20 } })}>What moves appears here.</${Empty}>`}`;
}

const COLUMNS = [
  { name: "at", title: "At", width: "130px", show: (event) => html`<${Time} at=${event.at} always />` },
  { name: "state", title: "State", width: "120px", show: (event) => html`<${State} state=${event.state} />` },
  { name: "name", title: "Task", width: "40%", show: (event) => html`<a class="name" href=${to(`/tasks/${event.id}`)}>
    ${event.name || event.url ? nameOf(event) : html`<code>${event.id}</code>`}</a>${event.progress && html`<span class="row-note">
    ${event.progress.message ?? ""} ${event.progress.current}${event.progress.total ? ` of ${event.progress.total}` : ""}</span>`}${event.error && html`<span class="row-note">
    ${event.error.type}: ${event.error.message}</span>`}${(event.tags ?? []).map((tag) => html`<span class="tag">${tag}</span>`)}` },
  { name: "queue", title: "Queue", width: "18%", show: (event) => event.queue },
  { name: "attempt", title: "Attempt", width: "80px", right: true, show: (event) => event.attempt || "–" },
  { name: "id", title: "Id", width: "120px", right: true, show: (event) => html`<code class="mono faint" title=${event.id}>…${event.id.slice(-8)}</code>` },
];
