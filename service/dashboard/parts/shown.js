// Small things that every page shows: states, times, figures, what to do when there is nothing, what went wrong.
import { html, useState } from "../html.js";
import { faultLine } from "../api.js";
import { age, clock, exact } from "../format.js";
import { ownZone, times } from "../preferences.js";
import { now } from "../use.js";
import { Icon } from "./icons.js";

export const STATES = ["scheduled", "queued", "running", "cancelling", "succeeded", "failed", "cancelled", "expired", "blocked"];

// A state is an icon and a word; the colour only helps.
export const State = ({ state, word }) =>
  html`<span class=${`state state-${state}`}><${Icon} name=${state} /><span>${word ?? state}</span></span>`;

export const Badge = ({ tone = "", icon, children }) =>
  html`<span class=${`badge ${tone}`}>${icon && html`<${Icon} name=${icon} size=${12} />`}${children}</span>`;

export const zoneOf = () => (times.value === "age" || times.value === "local" ? ownZone : times.value);

// A time as an age or on the clock, as chosen; the whole of it when pointed at.
export function Time({ at, always = false }) {
  if (!at) return html`<span class="faint">–</span>`;
  const ms = Date.parse(at);
  const zone = zoneOf();
  const text = times.value === "age" && !always ? age(ms, now.value) : clock(ms, zone);
  return html`<time datetime=${at} title=${exact(ms, zone)}>${text}</time>`;
}

export function Copy({ text, label = "Copy", small = false }) {
  const [isDone, setDone] = useState(false);
  const copy = async () => {
    await copyText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<button type="button" class=${small ? "quiet tiny" : "small"} onClick=${copy} title=${label} aria-label=${small ? label : undefined}>
    <${Icon} name=${isDone ? "check" : "copy"} size=${14} />${!small && html`<span aria-live="polite">
      ${isDone ? "Copied" : label}</span>`}</button>`;
}

// The clipboard is missing on plain http beyond this machine: then the text is selected for the user to copy.
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).catch(() => byHand(text));
  return byHand(text);
}
function byHand(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text, className: "offscreen" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

// Code to read, and to paste elsewhere.
export const Code = ({ text, label, lines = 0 }) => html`<div class="code">
  <pre tabindex="0" class=${lines ? `most-${lines}` : ""} aria-label=${label}>${text}</pre><div class="code-copy">
    <${Copy} text=${text} small label=${`Copy ${label ?? ""}`.trim()} /></div></div>`;

export const Mono = ({ children, title }) => html`<code class="mono" title=${title}>${children}</code>`;

// Nothing here: says why, and what would change it.
export const Empty = ({ icon = "tasks", title, children, curl }) => html`<div class="empty">
  <div class="empty-icon"><${Icon} name=${icon} size=${22} /></div>
  <h2>${title}</h2>
  ${children && html`<p>${children}</p>`}
  ${curl && html`<${Code} text=${curl} label="command" />`}
</div>`;

// A refusal with every fault that was named.
export const ProblemBox = ({ problem, retry }) => problem && html`<div class="problem" role="alert">
  <${Icon} name="warning" />
  <div><strong>${problem.title || "This did not work"}</strong><p>${problem.message}</p>
  ${problem.faults?.length > 0 && html`<ul>${problem.faults.map((fault) => html`<li>${faultLine(fault)}</li>`)}</ul>`}</div>
  ${retry && html`<button type="button" class="small" onClick=${retry}>Try again</button>`}
</div>`;

export const Loading = ({ rows = 4 }) => html`<div class="loading" role="status" aria-label="Loading">
  ${Array.from({ length: rows }, () => html`<div class="bone"></div>`)}</div>`;

// What *polled* answers, or that it is on its way, or what went wrong.
export function Answer({ polled, children, rows }) {
  return html`<${ProblemBox} problem=${polled.problem} retry=${polled.refresh} />
    ${polled.data ? children(polled.data) : !polled.problem && html`<${Loading} rows=${rows} />`}`;
}

export const Figure = ({ label, value, note, tone = "", href }) => {
  const inner = html`<span class="figure-label">${label}</span><span class=${`figure-value ${tone}`}>${value}</span>
    <span class="figure-note">${note ?? html`${" "}`}</span>`;
  return href ? html`<a class="figure" href=${href}>${inner}</a>` : html`<div class="figure">${inner}</div>`;
};

// A share as a bar; the figure stands beside it.
export const Meter = ({ value, most, label, tone = "" }) => html`<span class=${`meter ${tone}`} role="meter" aria-valuenow=${value} aria-valuemin="0" aria-valuemax=${most} aria-label=${label}>
  <i style=${{ width: `${most > 0 ? Math.min(100, (value / most) * 100) : 0}%` }}></i></span>`;

export const Facts = ({ rows }) => html`<dl class="facts">${rows.filter(Boolean).map(([name, value]) => html`<div><dt>${name}</dt><dd>
  ${value}</dd></div>`)}</dl>`;

export const Section = ({ title, aside, children, id }) => html`<section class="section" aria-labelledby=${id}>
  <header><h2 id=${id}>${title}</h2>${aside}</header>${children}</section>`;

// *isPart*: within a page that has a head of its own.
export const Head = ({ title, lead, children, crumb, isPart = false }) => html`<header class="head">
  <div>${crumb && html`<nav class="crumb" aria-label="Where this is">${crumb}</nav>`}${isPart ? html`<h2>
    ${title}</h2>` : html`<h1 tabindex="-1">${title}</h1>`}${lead && html`<p class="lead">${lead}</p>`}</div>
  <div class="head-actions">${children}</div></header>`;
