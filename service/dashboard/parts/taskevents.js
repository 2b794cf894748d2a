// What happened to one task while the page is open, as the service tells it.
import { html } from "../html.js";
import { Section, State, Time } from "./shown.js";

export function TaskEvents({ events, isLive }) {
  if (!events.length && !isLive) return null;
  return html`<${Section} title="Events" id="events" aside=${html`<span class="faint">since this page was opened</span>`}>
    ${events.length ? html`<div class="events panel" tabindex="0" role="region" aria-label="Events, list"><ol>${events.map((one) => html`<li><${Time} at=${one.at} always />
      <${State} state=${one.state} />${one.progress && html`<span class="muted">
      ${one.progress.message ?? ""} ${one.progress.current}${one.progress.total ? ` of ${one.progress.total}` : ""}</span>`}${one.error && html`<span class="grave">
      ${one.error.type}: ${one.error.message}</span>`}</li>`)}</ol></div>`
      : html`<p class="muted">They appear here as they happen.</p>`}</${Section}>`;
}
