// A chart over time with uPlot, in the colours of the theme. Its legend says in words what it shows: now, or where one points.
import { html, useEffect, useRef, useState } from "../html.js";
import uPlot from "../vendor/uplot.js";
import { compact } from "../format.js";
import { theme } from "../preferences.js";
import { zoneOf } from "./shown.js";

const HEIGHT = 168, DAY_SECONDS = 86_400, FEW_POINTS = 12;

// Canvas knows no light-dark(): an element tells what a colour comes to.
function resolved(name) {
  const probe = Object.assign(document.createElement("span"), { hidden: true });
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

// A moment of the lower axis: the time of day, and the day where it shows more than one.
function moment(at, zone, spanSeconds) {
  const day = spanSeconds > 1.2 * DAY_SECONDS ? { day: "numeric", month: "short" } : {};
  const time = spanSeconds > 4 * DAY_SECONDS ? {} : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat("en-GB", { ...day, ...time, timeZone: zone }).format(at * 1000);
}
const pointed = (at, zone) => new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: zone }).format(at * 1000);

const seriesOf = ({ tone, isFilled, values }) => ({
  stroke: resolved(tone),
  width: 1.5,
  spanGaps: true,
  // A line of few points may be no line at all.
  points: { show: values.filter((value) => value !== null).length <= FEW_POINTS, size: 5, fill: resolved(tone) },
  fill: isFilled ? `color-mix(in srgb, ${resolved(tone)} 14%, transparent)` : undefined,
});

function optionsOf(lines, format, width, point) {
  const axis = { stroke: resolved("faint"), grid: { stroke: resolved("line"), width: 1 }, ticks: { show: false }, font: "11px Inter, system-ui, sans-serif" };
  const zone = zoneOf();
  const times = (plot, splits) => splits.map((at) => moment(at, zone, plot.scales.x.max - plot.scales.x.min));
  return {
    width,
    height: HEIGHT,
    padding: [8, 4, 0, 0],
    cursor: { y: false, points: { size: 6 } },
    legend: { show: false },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), zone),
    scales: { y: { range: (_, low, high) => [0, Math.max(high, 1e-9) * 1.08] } },
    axes: [{ ...axis, space: 70, size: 26, values: times }, { ...axis, size: 54, values: (_, splits) => splits.map((value) => format(value)) }],
    series: [{}, ...lines.map(seriesOf)],
    hooks: { setCursor: [(plot) => point(plot.cursor.idx ?? null)] },
  };
}

// *at* in seconds since the epoch; *lines*: {name, values, tone, isFilled}.
export const Chart = (given) => (given.lines.some(hasValues) ? html`<${Plot} ...${given} />` : html`<figure class="chart nothing" aria-label=${given.label}>Nothing yet</figure>`);
const hasValues = (line) => line.values.some((value) => value !== null);

function Plot({ at, lines, label, format = compact }) {
  const box = useRef(null), plot = useRef(null);
  const [index, setIndex] = useState(null);
  const few = lines.map((one) => one.values.filter((value) => value !== null).length <= FEW_POINTS);
  const kind = `${theme.value} ${zoneOf()} ${lines.map((one) => one.name)} ${few}`;
  const values = [at, ...lines.map((one) => one.values)];
  useEffect(() => {
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(lines, format, box.current.clientWidth || 600, setIndex), values, box.current);
    };
    make();
    const watch = new ResizeObserver(() => { if (box.current) plot.current?.setSize({ width: box.current.clientWidth, height: HEIGHT }); });
    watch.observe(box.current);
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", make);
    return () => { watch.disconnect(); system.removeEventListener("change", make); plot.current.destroy(); plot.current = null; };
  }, [kind]);
  useEffect(() => { plot.current?.setData(values); }, [at, lines]);
  return html`<figure class="chart" aria-label=${label}><div ref=${box} aria-hidden="true"></div>
    <figcaption><ul>${lines.map((one) => html`<li><i style=${{ background: `var(--${one.tone})` }}></i>${one.name} <span class="number">
      ${said(one, index, format)}</span></li>`)}
      <li class="faint">${index === null ? "last" : pointed(at[index], zoneOf())}</li></ul></figcaption></figure>`;
}

function said({ values }, index, format) {
  const value = index === null ? values.findLast((one) => one !== null) : values[index];
  return value === null || value === undefined ? "–" : format(value);
}
