// Endpoints: the hosts that are called, how their calls go, which are held back.
import { html } from "../html.js";
import { compact, percent, span } from "../format.js";
import { to } from "../route.js";
import { usePolled, useTitle } from "../use.js";
import { curlOf } from "../curl.js";
import { endpointMenu } from "../endpointactions.js";
import { Menu } from "../parts/menu.js";
import { Table } from "../parts/rows.js";
import { Answer, Badge, Empty, Head, Meter, Time } from "../parts/shown.js";

const CIRCUITS = { closed: ["good", "check", "closed"], open: ["bad", "warning", "open"], half_open: ["warn", "clock", "half open"] };
export const Circuit = ({ one }) => (one.disabled ? html`<${Badge} tone="bad" icon="stop">disabled</${Badge}>` : html`<${Badge} tone=${CIRCUITS[one.circuit]?.[0]} icon=${CIRCUITS[one.circuit]?.[1]}>
  ${CIRCUITS[one.circuit]?.[2] ?? one.circuit}</${Badge}>`);
export const toneOf = (rate) => (rate === null ? "" : rate < 0.9 ? "bad" : rate < 0.99 ? "warn" : "good");
export const callsOf = ({ calls }) => calls.succeeded + calls.refused + calls.failed;

export function Endpoints() {
  useTitle("Endpoints");
  const polled = usePolled("/v1/endpoints", 2);
  return html`<${Head} title="Endpoints" lead="The hosts that URL tasks call. One that is slow or down holds up no other: its circuit opens, and its tasks wait their turn." />
    <${Answer} polled=${polled}>
      ${({ items }) => (items.length ? html`<${Table} rows=${items} columns=${columnsOf(polled.refresh)} label="Endpoints" />`
      : html`<${Empty} icon="endpoints" title="No URL was called yet" curl=${curlOf({ url: "https://example.com/hooks/orders", body: { order: 4711 } })}>An endpoint is here as soon as one of its URLs is called.</${Empty}>`)}</${Answer}>`;
}

const columnsOf = (refresh) => [
  { title: "Endpoint", show: (one) => html`<a class="name" href=${to(`/endpoints/${encodeURIComponent(one.name)}`)}>
    ${one.name.replace(":", "://")}</a>${one.last_error && one.failing_since && html`<span class="sub clip" title=${one.last_error}>
    ${one.last_error}</span>`}` },
  { title: "Circuit", class: "tight", show: (one) => html`<${Circuit} one=${one} />
    ${one.disabled_urls.length > 0 && html` <${Badge} tone="warn">${one.disabled_urls.length} URL gone</${Badge}>`}` },
  { title: "Success", class: "right tight", show: (one) => html`<${Meter} value=${one.success_rate ?? 0} most=${1} tone=${toneOf(one.success_rate)} label="Success rate" /> ${percent(one.success_rate)}` },
  { title: "Calls", class: "right tight", show: (one) => html`<span title="of the last ten to twenty minutes">
    ${compact(callsOf(one))}</span>` },
  { title: "p50", class: "right tight hide-small", show: (one) => span(one.p50_seconds) },
  { title: "p95", class: "right tight hide-small", show: (one) => span(one.p95_seconds) },
  { title: "In flight", class: "right tight", show: (one) => one.in_flight },
  { title: "Last failure", class: "right tight hide-small", show: (one) => html`<${Time} at=${one.failed_at} />` },
  { title: html`<span class="offscreen">Actions</span>`, class: "tight", show: (one) => html`<${Menu} small label=${`Actions of ${one.name}`} items=${endpointMenu(one, refresh)} />` },
];
