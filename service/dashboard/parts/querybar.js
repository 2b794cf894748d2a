// The query bar: qualifiers with suggestions of names that there are.
import { html, useEffect, useRef, useState } from "../html.js";
import { get } from "../api.js";
import { QUALIFIERS, words } from "../search.js";
import { Icon } from "./icons.js";

// Names that the service knows, read when the bar is first used.
let names = null;
async function known() {
  names ??= Promise.all([["queue", "/v1/queues"], ["name", "/v1/handlers"], ["schedule", "/v1/schedules?limit=200"]].map(async ([field, path]) =>
    [field, (await get(path).catch(() => ({ items: [] }))).items.map((one) => one.name)])).then(Object.fromEntries);
  return names;
}

function suggestions(text, found) {
  const word = /\s$/.test(text) || !text ? "" : words(text).at(-1) ?? "";
  const [, name, value] = word.match(/^([a-z]+):(.*)$/i) ?? [];
  if (!name) {
    const fits = Object.entries(QUALIFIERS).filter(([one]) => one.startsWith(word.toLowerCase()));
    return fits.map(([one, [, what]]) => ({ word, put: `${one}:`, shown: `${one}:`, what }));
  }
  const options = QUALIFIERS[name]?.[2].length ? QUALIFIERS[name][2] : (found[name] ?? []);
  const last = value.split(",").at(-1);
  return options.filter((one) => one !== last && one.toLowerCase().includes(last.toLowerCase())).slice(0, 9).map((one) => ({ word, put: `${name}:${value.slice(0, value.length - last.length)}${one} `, shown: one, what: "" }));
}

// *change* is called with the text as it is typed, *done* on Enter.
export function QueryBar({ text, change, done, faults, label }) {
  const [draft, setDraft] = useState(text);
  const [isOpen, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const [found, setFound] = useState({});
  const input = useRef(null), timer = useRef(0);
  useEffect(() => { setDraft(text); }, [text]);
  const offered = isOpen ? suggestions(draft, found) : [];
  const put = (next, isAtOnce) => {
    setDraft(next);
    setAt(-1);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => change(next.trim()), isAtOnce ? 0 : 250);
  };
  const take = (one) => { put(`${draft.slice(0, draft.length - one.word.length)}${one.put}`, !one.put.endsWith(":")); input.current.focus(); };
  const pressed = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && offered.length) { event.preventDefault(); setAt((at + step + offered.length + (at < 0 && step < 0 ? 1 : 0)) % offered.length); }
    else if ((event.key === "Enter" || event.key === "Tab") && offered[at]) { event.preventDefault(); take(offered[at]); }
    else if (event.key === "Enter") { clearTimeout(timer.current); change(draft.trim()); setOpen(false); done?.(draft.trim()); }
    else if (event.key === "Escape") { if (isOpen) { setOpen(false); event.stopPropagation(); } else input.current.blur(); }
  };
  return html`<div class="querybar" onFocusOut=${(event) => { if (!event.currentTarget.contains(event.relatedTarget)) setOpen(false); }}>
    <${Icon} name="search" size=${14} />
    <input ref=${input} data-search type="text" role="combobox" aria-label=${label} aria-expanded=${offered.length > 0} aria-controls="query-list" aria-activedescendant=${at >= 0 ? `query-${at}` : undefined}
      aria-invalid=${faults.length > 0} placeholder="state:failed name:email.* age:<1h, or a task's id" value=${draft} autocomplete="off" spellcheck=${false}
      onFocus=${() => { setOpen(true); known().then(setFound); }} onInput=${(event) => { setOpen(true); put(event.target.value); }} onKeyDown=${pressed} />
    ${draft ? html`<button type="button" class="quiet tiny" aria-label="Clear" onClick=${() => { put("", true); input.current.focus(); }}>
      <${Icon} name="cancel" size=${12} /></button>` : html`<kbd>/</kbd>`}
    ${offered.length > 0 && html`<ul id="query-list" role="listbox" aria-label="Suggestions">
      ${offered.map((one, n) => html`<li id=${`query-${n}`} role="option" aria-selected=${n === at} onMouseDown=${(event) => { event.preventDefault(); take(one); }}>
      <code>${one.shown}</code><span>${one.what}</span></li>`)}</ul>`}
    ${faults.length > 0 && html`<p class="query-faults" role="alert">${faults.map((one) => html`<span>${one}</span>`)}</p>`}
  </div>`;
}
