// The attempts of a task: outcome, how long each step took, request and answer, log.
import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { bytes, span } from "../format.js";
import { to } from "../route.js";
import { now } from "../use.js";
import { Code, Copy, State, Time } from "./shown.js";
import { Icon } from "./icons.js";
import { Json } from "./json.js";

const OUTCOME_ICONS = { released: "deferred", undelivered: "deferred" };

// *lines*: by attempt, what was told of their logs since the page was opened.
export function Attempts({ attempts, task, lines }) {
  if (!attempts.length) return html`<p class="muted">${task.attempt ? "They are no longer kept." : "None yet."}</p>`;
  const longest = Math.max(...attempts.map(lasted), 0.001);
  return html`<ol class="attempts">
    ${attempts.toReversed().map((one, n) => html`<${Attempt} key=${`${one.attempt} ${one.started_at}`} one=${one} longest=${longest} lines=${lines.get(one.attempt)} isFirst=${n === 0} isTold=${n === 0 && task.error?.traceback === one.error?.traceback} />`)}</ol>`;
}

const lasted = (one) => ((one.finished_at ? Date.parse(one.finished_at) : now.value) - Date.parse(one.started_at)) / 1000;

// *isTold*: its traceback stands at the top of the page already.
function Attempt({ one, longest, lines, isFirst, isTold }) {
  const [isOpen, setOpen] = useState(isFirst);
  const outcome = one.outcome ?? "running";
  const icon = OUTCOME_ICONS[outcome] ?? outcome;
  return html`<li class="panel attempt">
    <button type="button" class="attempt-head" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>
      <${Icon} name=${isOpen ? "down" : "right"} size=${12} /><strong>${one.attempt}</strong><${State} state=${icon} word=${outcome} />
      ${one.http?.status && html`<span class="badge">${one.http.status}</span>`}
      <span class="attempt-bar">
        <i class=${`stretch-${outcome}`} style=${{ width: `${Math.max(1, (lasted(one) / longest) * 100)}%` }}></i></span>
      <span class="number">${span(lasted(one))}</span><span class="faint"><${Time} at=${one.started_at} /></span></button>
    ${isOpen && html`<div class="attempt-body"><${Inside} one=${one} lines=${lines} isTold=${isTold} /></div>`}
  </li>`;
}

// The stream tells the whole log of the attempt that runs, sooner than it is read; of one that is over what was kept counts.
const logOf = (one, lines) => (!one.outcome && lines?.length > one.log.length ? lines : one.log);

const Inside = ({ one, lines, isTold }) => html`
  <p class="muted">On <a class="link" href=${to(`/workers/${encodeURIComponent(one.worker)}`)}>
    ${one.worker}</a>, began <${Time} at=${one.started_at} always />
    ${one.reason && html`; ${one.reason}`}${one.retry_at && html`; next <${Time} at=${one.retry_at} always />`}</p>
  ${one.error && html`<div><p class="grave"><strong>${one.error.type}</strong> ${one.error.message}</p>
    ${one.error.traceback && !isTold && html`<${Code} text=${one.error.traceback} label="traceback" lines=${12} />`}</div>`}
  ${one.http && html`<${Call} http=${one.http} />`}
  ${logOf(one, lines).length > 0 && html`<${Log} lines=${logOf(one, lines)} />`}`;

// ---------------------------------------------------------------- calls of URLs

const STEPS = [["dns_ms", "name"], ["connect_ms", "connect"], ["tls_ms", "TLS"], ["first_byte_ms", "thought"], ["body_ms", "body"]];

function Call({ http }) {
  const [shown, setShown] = useState("response");
  const parts = [http.response && "response", http.request && "request"].filter(Boolean);
  const part = parts.includes(shown) ? shown : parts[0];
  return html`<div class="call">${http.times && html`<${Times} times=${http.times} isReused=${http.reused} address=${http.address} />`}
    <div class="buttons">${parts.length > 0 && html`<div class="segments" role="group" aria-label="Request or response">
      ${parts.map((one) => html`<button type="button" aria-pressed=${one === part} onClick=${() => setShown(one)}>${one}</button>`)}</div>`}
      ${http.curl && html`<${Copy} text=${http.curl} label="Copy as curl" />`}</div>
    ${part && html`<${Message} message=${http[part]} isRequest=${part === "request"} status=${http.status} />`}</div>`;
}

function Times({ times, isReused, address }) {
  const steps = STEPS.filter(([field]) => times[field] !== null).map(([field, word]) => [word, times[field]]);
  const rest = (times.total_ms ?? 0) - steps.reduce((sum, [, ms]) => sum + ms, 0);
  if (rest > 0.5) steps.push(["other", rest]);
  const whole = steps.reduce((sum, [, ms]) => sum + ms, 0) || 1;
  return html`<div class="times"><div class="times-bar" aria-hidden="true">
    ${steps.map(([word, ms]) => html`<i class=${`step step-${word}`} style=${{ flexGrow: ms / whole }}></i>`)}</div>
    <ul>${steps.map(([word, ms]) => html`<li><i class=${`step step-${word}`}></i>${word} <span class="number">
      ${span(ms / 1000)}</span></li>`)}<li class="muted">
      ${[address, isReused && "connection used again"].filter(Boolean).join(", ")}</li></ul></div>`;
}

function Message({ message, isRequest, status }) {
  const first = isRequest ? `${message.method} ${message.url}` : `HTTP ${status}`;
  const fields = Object.entries(message.headers).map(([name, value]) => `${name}: ${value}`);
  if (message.headers_left_out) fields.push(`(${message.headers_left_out} more)`);
  const text = message.body_text;
  const json = asJson(text);
  return html`<${Code} text=${[first, ...fields].join("\n")} label=${isRequest ? "request" : "response"} />
    ${json !== undefined ? html`<${Json} value=${json} label="body" />` : text ? html`<${Code} text=${text} label="body" lines=${12} />` : message.body_base64 && html`<${Code} text=${message.body_base64} label="body in base64" lines=${12} />`}
    ${message.body_bytes > 2048 && html`<p class="faint">The first 2 KiB of ${bytes(message.body_bytes)}.</p>`}`;
}

function asJson(text) {
  if (!text || !/^\s*[[{]/.test(text)) return undefined;
  try { return JSON.parse(text); } catch { return undefined; }
}

// Shows its end, and stays there while lines come, unless somebody has scrolled up to read.
function Log({ lines }) {
  const box = useRef(null), isAtEnd = useRef(true);
  useLayoutEffect(() => { if (isAtEnd.current) box.current.scrollTop = box.current.scrollHeight; }, [lines]);
  const scrolled = () => { isAtEnd.current = box.current.scrollTop + box.current.clientHeight > box.current.scrollHeight - 24; };
  return html`<div class="log" ref=${box} onScroll=${scrolled} role="log" tabindex="0" aria-label="Log"><ol>
    ${lines.map((one) => html`<li class=${`log-${one.level}`}><${Time} at=${one.at} always /><span class="log-level">${one.level}</span>
    <span class="log-text">${one.message}</span></li>`)}</ol></div>`;
}
