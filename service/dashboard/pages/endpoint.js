// One endpoint: its circuit and why, its calls and how long they take, what is set for it.
import { html } from "../html.js";
import { needing, queryOf } from "../api.js";
import { compact, percent, span } from "../format.js";
import { to } from "../route.js";
import { usePolled, useTitle } from "../use.js";
import { enable, endpointMenu, sendTest } from "../endpointactions.js";
import { Chart } from "../parts/chart.js";
import { Icon } from "../parts/icons.js";
import { Menu } from "../parts/menu.js";
import { Answer, Empty, Facts, Figure, Head, Section, Time } from "../parts/shown.js";
import { callsOf, Circuit, toneOf } from "./endpoints.js";

export function EndpointPage({ name }) {
  useTitle(name);
  const polled = usePolled(`/v1/endpoints/${encodeURIComponent(name)}`, 2);
  if (polled.problem?.status === 404) {
    return html`<${Empty} icon="endpoints" title="This endpoint was not called yet">Or so long ago that nothing is known of it. <a class="link" href=${to("/endpoints")}>All endpoints</a></${Empty}>`;
  }
  return html`<${Answer} polled=${polled}>${(one) => html`<${Whole} one=${one} refresh=${polled.refresh} />`}</${Answer}>`;
}

function Whole({ one, refresh }) {
  const does = (doing) => () => Promise.resolve(doing(one)).then(refresh);
  const held = one.disabled ? one.disabled_reason : one.circuit_reason;
  return html`
    <${Head} crumb=${html`<a href=${to("/endpoints")}>Endpoints</a>`} title=${one.name.replace(":", "://")} lead=${html`<span class="idline">
      <${Circuit} one=${one} />${held && html`<span>
      ${held}</span>`}${one.next_probe_at && html`<span class="muted">next probe <${Time} at=${one.next_probe_at} /></span>`}</span>`}>
      <button type="button" onClick=${does(sendTest)} ...${needing("endpoints:write")}><${Icon} name="bolt" size=${14} />Send test</button>
      ${(one.disabled || one.circuit !== "closed") && html`<button type="button" onClick=${does(enable)} ...${needing("endpoints:write")}><${Icon} name="play" size=${14} />
        ${one.disabled ? "Enable" : "Close the circuit"}</button>`}
      <${Menu} items=${endpointMenu(one, refresh)} isMain /></${Head}>
    <div class="figures">
      <${Figure} label="Success rate" value=${percent(one.success_rate)} tone=${toneOf(one.success_rate) === "bad" ? "bad" : ""} note=${`of ${compact(callsOf(one))} calls`} />
      <${Figure} label="Half within" value=${span(one.p50_seconds)} note="p50" />
      <${Figure} label="95 of 100 within" value=${span(one.p95_seconds)} note="p95" />
      <${Figure} label="In flight" value=${one.in_flight} note="now" />
    </div>
    <${Answers} calls=${one.calls} />
    <${History} name=${one.name} />
    <${Section} title="About it" id="about"><div class="panel padded"><${Facts} rows=${[
      ["Last success", html`<${Time} at=${one.succeeded_at} />`],
      ["Last failure", html`<${Time} at=${one.failed_at} />`],
      one.failing_since && ["Failing since", html`<${Time} at=${one.failing_since} />`],
      one.last_error && ["Last error", one.last_error],
      ["Calls at once", one.concurrency ?? "a share of each worker's slots"],
      ["Opens after", one.breaker_failures === null ? "as the settings say" : `${one.breaker_failures} failures in a row`],
      ["Credentials", one.has_credentials ? "sent with each call" : "none"],
    ]} /></div></${Section}>
    ${one.disabled_urls.length > 0 && html`<${Section} title="URLs that are gone (410)" id="gone"><div class="table"><table><thead><tr>
      <th>URL</th><th class="right">Since</th><th class="right">Until</th></tr></thead><tbody>${one.disabled_urls.map((gone) => html`<tr>
      <td>${gone.url}</td><td class="right"><${Time} at=${gone.at} /></td><td class="right">
      <${Time} at=${gone.until} /></td></tr>`)}</tbody></table></div></${Section}>`}`;
}

function Answers({ calls }) {
  const rows = [["succeeded", "2xx", calls.succeeded, "good"], ["refused", "3xx and 4xx", calls.refused, "warn"], ["failed", "5xx or no answer", calls.failed, "bad"]];
  const whole = rows.reduce((sum, row) => sum + row[2], 0);
  if (!whole) return null;
  return html`<${Section} title="Answers of the last minutes" id="answers"><div class="panel padded answers">
    <div class="times-bar" aria-hidden="true">
    ${rows.map(([, , n, tone]) => n > 0 && html`<i class=${`answer-${tone}`} style=${{ flexGrow: n }}></i>`)}</div>
    <ul>${rows.map(([word, what, n, tone]) => html`<li><i class=${`answer-${tone}`}></i>${word} <span class="muted">
      ${what}</span> <strong class="number">${compact(n)}</strong> <span class="faint">
      ${percent(n / whole)}</span></li>`)}</ul></div></${Section}>`;
}

function History({ name }) {
  const polled = usePolled(`/v1/stats${queryOf({ name, last_seconds: 3600 })}`, 15);
  if (!polled.data) return null;
  const { series, totals } = polled.data;
  if (!totals.run.count) return null;
  return html`<${Section} title="Last hour" id="history" aside=${html`<span class="faint">p50 ${span(totals.run.p50_seconds)} · p95 ${span(totals.run.p95_seconds)} · p99 ${span(totals.run.p99_seconds)}</span>`}>
    <div class="panel padded">
    <${Chart} label="How long calls take" format=${span} at=${series.map((one) => Date.parse(one.begins_at) / 1000)}
    lines=${["p50_seconds", "p95_seconds", "p99_seconds"].map((field, n) => ({ name: field.slice(0, 3), values: series.map((one) => one.figures.run[field]), tone: ["green", "blue", "orange"][n] }))} /></div></${Section}>`;
}
