// The palette (⌘K): pages, actions, and whatever has a name: queues, handlers, schedules, workers, a task by its id.
import { html, useEffect, useMemo, useRef, useState } from "../html.js";
import { get, part } from "../api.js";
import { go, to } from "../route.js";
import { theme, THEMES, times, TIMES } from "../preferences.js";
import { openHelp } from "./help.js";
import { Icon } from "./icons.js";
import { show } from "./dialog.js";
import { PLACES } from "./places.js";

const MOST = 40;
const TASK_ID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i;

const fixed = () => [
  ...PLACES.map(([key, path, name, icon]) => ({ kind: "Page", name, icon, hint: `g ${key}`, does: () => go(to(path)) })),
  { kind: "Action", name: "Submit a task", icon: "plus", does: () => go(to("/playground")) },
  { kind: "Action", name: "New schedule", icon: "plus", does: () => go(to("/schedules", { new: "1" })) },
  ...["failed", "running", "queued", "scheduled"].map((state) => ({ kind: "Tasks", name: `Tasks that are ${state}`, icon: state, does: () => go(to("/tasks", { q: `state:${state}` })) })),
  ...THEMES.map((one) => ({ kind: "Setting", name: `Theme: ${one}`, icon: "sun", does: () => { theme.value = one; } })),
  ...TIMES.map((one) => ({ kind: "Setting", name: `Times: ${one === "age" ? "ages" : one}`, icon: "clock", does: () => { times.value = one; } })),
  { kind: "Help", name: "Keyboard shortcuts", icon: "keyboard", hint: "?", does: openHelp },
];

// What has a name in the service; a part that does not answer is left out.
async function named() {
  const items = async (path) => (await get(path).catch(() => ({ items: [] }))).items;
  const [queues, handlers, schedules, workers, endpoints] = await Promise.all(
    ["/v1/queues", "/v1/handlers", "/v1/schedules?limit=200", "/v1/workers", "/v1/endpoints"].map(items));
  return [
    ...queues.map((one) => ({ kind: "Queue", name: one.name, icon: "queues", does: () => go(to(`/queues/${part(one.name)}`)) })),
    ...handlers.map((one) => ({ kind: "Handler", name: one.name, icon: "playground", does: () => go(to("/playground", { name: one.name })) })),
    ...schedules.map((one) => ({ kind: "Schedule", name: one.name, icon: "schedules", does: () => go(to(`/schedules/${part(one.name)}`)) })),
    ...workers.map((one) => ({ kind: "Worker", name: one.id, icon: "workers", does: () => go(to(`/workers/${part(one.id)}`)) })),
    ...endpoints.map((one) => ({ kind: "Endpoint", name: one.name, icon: "endpoints", does: () => go(to(`/endpoints/${part(one.name)}`)) })),
  ];
}

function fitting(all, text) {
  const id = text.trim().toUpperCase();
  const task = TASK_ID.test(id) ? [{ kind: "Task", name: id, icon: "tasks", does: () => go(to(`/tasks/${id}`)) }] : [];
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = all.filter((one) => words.every((word) => `${one.kind} ${one.name}`.toLowerCase().includes(word)));
  const search = text.trim() ? [{ kind: "Search", name: `Tasks matching “${text.trim()}”`, icon: "search", does: () => go(to("/tasks", { q: text.trim() })) }] : [];
  return [...task, ...found.slice(0, MOST), ...search];
}

function Palette({ close }) {
  const [text, setText] = useState("");
  const [more, setMore] = useState([]);
  const [at, setAt] = useState(0);
  const list = useRef(null);
  useEffect(() => { named().then(setMore); }, []);
  const found = useMemo(() => fitting([...fixed(), ...more], text), [text, more]);
  const choose = (one) => { close(undefined); one?.does(); };
  const pressed = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const next = (at + step + found.length) % found.length;
      setAt(next);
      list.current.children[next]?.scrollIntoView({ block: "nearest" });
    }
    if (event.key === "Enter") { event.preventDefault(); choose(found[at]); }
  };
  const focus = (element) => { if (element && document.activeElement !== element && !element.dataset.met) { element.dataset.met = "1"; element.focus(); } };
  return html`<div class="palette"><h2 id="dialog-title" class="offscreen">Find or do</h2>
    <input ref=${focus} type="text" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-activedescendant=${`palette-${at}`} aria-label="Find or do" placeholder="A page, a task's id, a queue, an action…"
      value=${text} onInput=${(event) => { setText(event.target.value); setAt(0); }} onKeyDown=${pressed} autocomplete="off" spellcheck=${false} />
    <ul id="palette-list" role="listbox" aria-label="What was found" ref=${list}>
      ${found.map((one, n) => html`<li id=${`palette-${n}`} role="option" aria-selected=${n === at} onClick=${() => choose(one)} onMouseMove=${() => setAt(n)}>
      <${Icon} name=${one.icon} size=${14} /><span>${one.name}</span><small>${one.kind}</small>${one.hint && html`<kbd>
        ${one.hint}</kbd>`}</li>`)}</ul></div>`;
}
export const openPalette = () => show(Palette);
