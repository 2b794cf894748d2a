// JSON to read: coloured, folded where it is long, cut where it is very long, copied as a whole.
import { html, useState } from "../html.js";
import { plural } from "../format.js";
import { Copy } from "./shown.js";

const MOST_MEMBERS = 200, MOST_TEXT = 4000;

function Value({ value, depth }) {
  if (value === null) return html`<span class="j-null">null</span>`;
  if (typeof value === "string") {
    return html`<span class="j-string">"${value.length > MOST_TEXT ? `${value.slice(0, MOST_TEXT)}…` : value}"</span>`;
  }
  if (typeof value !== "object") return html`<span class=${typeof value === "number" ? "j-number" : "j-null"}>${String(value)}</span>`;
  return html`<${Folded} value=${value} depth=${depth} />`;
}

function Folded({ value, depth }) {
  const isList = Array.isArray(value);
  const members = isList ? value.map((one, n) => [n, one]) : Object.entries(value);
  const [isOpen, setOpen] = useState(depth < 2 || members.length < 4);
  const [start, end] = isList ? "[]" : "{}";
  if (!members.length) return html`<span class="j-mark">${start}${end}</span>`;
  if (!isOpen) {
    return html`<button type="button" class="j-fold" aria-expanded="false" onClick=${() => setOpen(true)}>
      ${start} ${plural(members.length, isList ? "item" : "field")} ${end}</button>`;
  }
  return html`<span class="j-mark">${start}</span>
    ${depth > 0 && html`<button type="button" class="j-fold" aria-expanded="true" aria-label="Fold" onClick=${() => setOpen(false)}>–</button>`}
    <ul class="j-members">${members.slice(0, MOST_MEMBERS).map(([name, one]) => html`<li key=${name}>${!isList && html`<span class="j-name">
      ${name}</span><span class="j-mark">: </span>`}<${Value} value=${one} depth=${depth + 1} /></li>`)}
    ${members.length > MOST_MEMBERS && html`<li class="faint">and ${plural(members.length - MOST_MEMBERS, "more", "more")}</li>`}</ul>
      <span class="j-mark">${end}</span>`;
}

export function Json({ value, label }) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return html`<div class="code"><div class="json" tabindex="0" role="group" aria-label=${label}><${Value} value=${value} depth=${0} /></div>
    <div class="code-copy"><${Copy} text=${text} small label=${`Copy ${label ?? ""}`.trim()} /></div></div>`;
}
