// Numbers, spans of time, sizes and names as people read them. Pure.
const count = new Intl.NumberFormat("en");
const shortCount = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const number = (value) => (value === null || value === undefined ? "–" : count.format(value));
export const compact = (value) => (value < 10_000 ? number(value) : shortCount.format(value));
export const percent = (ratio) => {
  if (ratio === null || ratio === undefined) return "–";
  const value = ratio * 100;
  return `${value === 100 || value === 0 ? value : value > 99 ? Math.floor(value * 10) / 10 : value.toFixed(value < 10 ? 1 : 0)} %`;
};

// A span in seconds with two figures that matter: 12 ms, 1.24 s, 3 m 20 s, 5 h 2 m, 3 d 4 h.
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const value = Math.max(0, seconds);
  if (value < 0.9995) return value === 0 ? "0 s" : `${value < 0.01 ? (value * 1000).toFixed(1) : Math.round(value * 1000)} ms`;
  if (value < 60) return `${value < 10 ? Number(value.toFixed(2)) : Math.floor(value)} s`;
  const whole = Math.floor(value);
  if (whole < 3600) return both(Math.floor(whole / 60), "m", whole % 60, "s");
  if (whole < 86_400) return both(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "m");
  return both(Math.floor(whole / 86_400), "d", Math.floor((whole % 86_400) / 3600), "h");
}
const both = (large, unit, small, smaller) => (small ? `${large} ${unit} ${small} ${smaller}` : `${large} ${unit}`);

// How long ago *at* is, or in how long it will be.
export function age(at, now) {
  const seconds = (now - at) / 1000;
  if (Math.abs(seconds) < 1.5) return "now";
  const rough = coarse(Math.abs(seconds));
  return seconds > 0 ? `${rough} ago` : `in ${rough}`;
}
const coarse = (seconds) => {
  if (seconds < 60) return `${Math.round(seconds)}s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)}m`;
  if (seconds < 86_400 * 2) return `${Math.round(seconds / 3600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
};

const formats = new Map();
const formatOf = (zone, isLong) => {
  const key = `${zone} ${isLong}`;
  if (!formats.has(key)) {
    const fields = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
    formats.set(key, new Intl.DateTimeFormat("en-GB", { ...fields, timeZone: zone, ...(isLong ? { year: "numeric", fractionalSecondDigits: 3, timeZoneName: "short" } : {}) }));
  }
  return formats.get(key);
};
export const clock = (at, zone) => formatOf(zone, false).format(at);
export const exact = (at, zone) => formatOf(zone, true).format(at);

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  const step = Math.min(Math.floor(Math.log2(Math.max(value, 1)) / 10), 3);
  return `${step ? (value / 1024 ** step).toFixed(value / 1024 ** step < 10 ? 1 : 0) : value} ${units[step]}`;
}

// A local time with its day of the week: Tue 2026-12-01 03:00, seconds where there are some.
export function localTime(text) {
  const [day, time] = text.slice(0, 19).split("T");
  const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "short", timeZone: "UTC" }).format(Date.parse(`${day}T00:00:00Z`));
  return `${weekday} ${day} ${time.endsWith(":00") ? time.slice(0, 5) : time}`;
}

// What a task is called: its handler, or method and address of its call.
export const nameOf = (task) => task.name ?? (task.unreadable && !task.url ? "(unreadable)" : `${task.method ?? "POST"} ${shortUrl(task.url ?? "")}`);
const shortUrl = (url) => url.replace(/^https?:\/\//, "");
export const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;
