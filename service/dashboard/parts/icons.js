// Icons of 16 by 16, drawn with the colour of the text around them. They never stand alone: a word or a label goes with each.
import { html } from "../html.js";

const CIRCLE = "M8 1.75a6.25 6.25 0 1 1 0 12.5a6.25 6.25 0 0 1 0-12.5Z";
const PATHS = {
  overview: ["M2 9.5h3.2v4H2zM6.4 6h3.2v7.5H6.4zM10.8 2.5H14v11h-3.2z"],
  tasks: ["M2.5 4h11M2.5 8h11M2.5 12h7"],
  dead: ["M3 4.5h10l-.8 9H3.8zM2 4.5h12M6 4.5V2.5h4v2M6.5 7v4M9.5 7v4"],
  queues: ["M2.5 3h11v2.8h-11zM2.5 7.1h11v2.8h-11zM2.5 11.2h11V14h-11z"],
  workers: ["M4 4h8v8H4zM6.5 1.5V4M9.5 1.5V4M6.5 12v2.5M9.5 12v2.5M1.5 6.5H4M1.5 9.5H4M12 6.5h2.5M12 9.5h2.5"],
  schedules: [CIRCLE, "M8 4.5V8l2.5 1.5"],
  endpoints: ["M6.5 9.5l3-3M7 4.2l1.4-1.4a2.9 2.9 0 0 1 4.1 4.1L11 8.4M9 11.8l-1.4 1.4a2.9 2.9 0 0 1-4.1-4.1L5 7.6"],
  playground: ["M4.5 2.5l8.5 5.5l-8.5 5.5z"],
  tail: ["M1.5 8h2.7l2-5l3.2 10l2-5h3.1"],
  bulk: ["M2.5 2.5h7v7h-7zM6 12.5v1h7.5V6h-1"],
  settings: ["M2.5 4.5h5M11.5 4.5h2M2.5 11.5h2M8.5 11.5h5", "M9.5 2.8a1.7 1.7 0 1 1 0 3.4a1.7 1.7 0 0 1 0-3.4Z", "M6.5 9.8a1.7 1.7 0 1 1 0 3.4a1.7 1.7 0 0 1 0-3.4Z"],
  search: ["M7 2.2a4.8 4.8 0 1 1 0 9.6a4.8 4.8 0 0 1 0-9.6ZM10.6 10.6L14 14"],
  scheduled: [CIRCLE, "M8 4.8V8l2.2 1.4"],
  queued: ["M8 1.75a6.25 6.25 0 0 1 3.1.8M13.4 4.9a6.25 6.25 0 0 1 .8 3.1M13.4 11.1a6.25 6.25 0 0 1-2.3 2.3M8 14.25a6.25 6.25 0 0 1-3.1-.8M2.6 11.1A6.25 6.25 0 0 1 1.75 8M2.6 4.9a6.25 6.25 0 0 1 2.3-2.3"],
  running: [CIRCLE, "M8 4.6a3.4 3.4 0 0 1 0 6.8z"],
  cancelling: [CIRCLE, "M5.5 8h5"],
  succeeded: [CIRCLE, "M5.2 8.2l2 2l3.7-4.2"],
  failed: [CIRCLE, "M5.9 5.9l4.2 4.2M10.1 5.9l-4.2 4.2"],
  cancelled: [CIRCLE, "M3.8 12.2l8.4-8.4"],
  expired: ["M4 2.2h8M4 13.8h8M4.8 2.2c0 3.6 2.2 4 3.2 5.8c1-1.8 3.2-2.2 3.2-5.8M4.8 13.8c0-3.6 2.2-4 3.2-5.8c1 1.8 3.2 2.2 3.2 5.8"],
  blocked: ["M3.8 7.2h8.4v6.3H3.8zM5.5 7.2V5a2.5 2.5 0 0 1 5 0v2.2"],
  retried: ["M13 8a5 5 0 1 1-1.5-3.6M13 2.5v2.6h-2.6"],
  deferred: [CIRCLE, "M6.4 5.5v5M9.6 5.5v5"],
  crashed: ["M9 1.8L3.5 9H8l-1 5.2L12.5 7H8z"],
  pause: ["M5.5 3.5v9M10.5 3.5v9"],
  play: ["M5 3.2l7.5 4.8L5 12.8z"],
  stop: ["M4 4h8v8H4z"],
  replay: ["M3 8a5 5 0 1 0 1.5-3.6M3 2.5v2.6h2.6"],
  cancel: ["M4 4l8 8M12 4l-8 8"],
  copy: ["M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3"],
  check: ["M3 8.5l3.2 3.2L13 4.8"],
  warning: ["M8 2.2l6.3 11.3H1.7zM8 6.5v3.2M8 11.6v.2"],
  down: ["M4 6l4 4l4-4"],
  right: ["M6 4l4 4l-4 4"],
  left: ["M10 4l-4 4l4 4"],
  more: ["M3.5 8h.01M8 8h.01M12.5 8h.01"],
  plus: ["M8 3v10M3 8h10"],
  edit: ["M3 13l.7-2.9L10.6 3.2l2.2 2.2l-6.9 6.9z"],
  trash: ["M3 4.5h10M6 4.5V2.8h4v1.7M4.2 4.5l.6 9h6.4l.6-9"],
  sun: ["M8 5.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 0 1 0-5.6ZM8 1.2v1.4M8 13.4v1.4M1.2 8h1.4M13.4 8h1.4M3.2 3.2l1 1M11.8 11.8l1 1M3.2 12.8l1-1M11.8 4.2l1-1"],
  moon: ["M13 9.7A5.6 5.6 0 0 1 6.3 3a5.6 5.6 0 1 0 6.7 6.7Z"],
  system: ["M2 3h12v8H2zM5.5 13.5h5M8 11v2.5"],
  clock: [CIRCLE, "M8 4.5V8l2.5 1.5"],
  menu: ["M2.5 4.5h11M2.5 8h11M2.5 11.5h11"],
  duplicate: ["M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3M9.5 7.8v3.4M7.8 9.5h3.4"],
  bolt: ["M9 1.8L3.5 9H8l-1 5.2L12.5 7H8z"],
  keyboard: ["M1.8 4h12.4v8H1.8zM4.5 6.8h.01M7 6.8h.01M9.5 6.8h.01M11.8 6.8h.01M5 9.5h6"],
};

export function Icon({ name, size = 16 }) {
  const paths = PATHS[name] ?? PATHS.more;
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 16 16" fill="none" stroke="currentColor"
    stroke-width=${name === "more" ? 2.2 : 1.5} stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
    ${paths.map((path) => html`<path d=${path} />`)}</svg>`;
}
