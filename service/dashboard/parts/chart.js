// A chart over time with uPlot, in the colours of the theme. Beside it stands what it shows in words.
import { html, useEffect, useRef } from "../html.js";
import uPlot from "../vendor/uplot.js";
import { compact } from "../format.js";
import { theme } from "../preferences.js";
import { zoneOf } from "./shown.js";

const HEIGHT = 180;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
// Canvas knows no light-dark(): an element tells what it comes to.
function resolved(name) {
  const probe = Object.assign(document.createElement("span"), { hidden: true });
  document.body.append(probe);
  probe.style.color = colour(name);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const DAY_SECONDS = 86_400;
// A moment of the lower axis: the time of day, and the day where it shows more than one.
function moment(at, zone, spanSeconds) {
  const day = spanSeconds > 1.2 * DAY_SECONDS ? { day: "numeric", month: "short" } : {};
  const time = spanSeconds > 4 * DAY_SECONDS && spanSeconds < 1e9 ? {} : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat("en-GB", { ...day, ...time, timeZone: zone }).format(at * 1000);
}

function optionsOf(lines, format, width) {
  const axis = { stroke: resolved("faint"), grid: { stroke: resolved("line"), width: 1 }, ticks: { show: false }, font: "11px Inter, system-ui, sans-serif" };
  const zone = zoneOf();
  return {
    width, height: HEIGHT, cursor: { y: false, points: { size: 6 } }, legend: { live: true }, tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), zone),
    scales: { y: { range: (_, low, high) => [0, Math.max(high, 1e-9) * 1.08] } },
    axes: [{ ...axis, space: 70, values: (plot, splits) => splits.map((at) => moment(at, zone, plot.scales.x.max - plot.scales.x.min)) }, { ...axis, size: 54, values: (_, splits) => splits.map((value) => format(value)) }],
    series: [{ label: "At", value: (_, at) => (at === null ? "–" : moment(at, zone, 1e9)) }, ...lines.map((one) => ({
      label: one.name, stroke: resolved(one.tone), width: 1.5, points: { show: false }, value: (_, value) => (value === null ? "–" : format(value)),
      fill: one.isFilled ? `color-mix(in srgb, ${resolved(one.tone)} 14%, transparent)` : undefined }))],
  };
}

// *at* in seconds since the epoch; *lines*: {name, values, tone, isFilled}.
export function Chart({ at, lines, label, format = compact }) {
  const box = useRef(null), plot = useRef(null);
  const kind = `${theme.value} ${zoneOf()} ${lines.map((one) => one.name)}`;
  const values = [at, ...lines.map((one) => one.values)];
  useEffect(() => {
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(lines, format, box.current.clientWidth || 600), values, box.current);
    };
    make();
    const watch = new ResizeObserver(() => { if (box.current) plot.current?.setSize({ width: box.current.clientWidth, height: HEIGHT }); });
    watch.observe(box.current);
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", make);
    return () => { watch.disconnect(); system.removeEventListener("change", make); plot.current.destroy(); plot.current = null; };
  }, [kind]);
  useEffect(() => { plot.current?.setData(values); }, [at, lines]);
  const words = lines.map((one) => `${one.name}: last ${format(one.values.findLast((value) => value !== null) ?? 0)}, at most ${format(Math.max(0, ...one.values))}`);
  return html`<figure class="chart" role="group" aria-label=${`${label}. ${words.join("; ")}`}><div ref=${box}></div></figure>`;
}
