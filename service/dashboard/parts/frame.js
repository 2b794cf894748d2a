// What surrounds every page: the places to go, search, theme and zone, and whether the page is live.
import { html, signal } from "../html.js";
import { BASE, go, place, to } from "../route.js";
import { nextOf, theme, THEMES, times, TIMES } from "../preferences.js";
import { streamState } from "../live.js";
import { useKeys } from "../keys.js";
import { Icon } from "./icons.js";
import { openHelp } from "./help.js";
import { openPalette } from "./palette.js";
import { PLACES } from "./places.js";

const isNavigationOpen = signal(false);
const isHere = (path) => (path === "/" ? place.value.path === "/" : `${place.value.path}/`.startsWith(`${path}/`));

const TIMES_WORDS = { age: "Ages", local: "Local time", UTC: "UTC" };
const THEME_ICONS = { system: "system", light: "sun", dark: "moon" };
const STREAM_WORDS = { live: "Live", connecting: "Connecting…", absent: "Refreshing", off: "Refreshing" };

export function Frame({ children }) {
  useKeys({
    ...Object.fromEntries(PLACES.map(([key, path]) => [`g ${key}`, () => go(to(path))])),
    "mod+k": openPalette,
    "?": openHelp,
    t: () => { times.value = nextOf(TIMES, times); },
    "/": () => (document.querySelector("[data-search]") ? document.querySelector("[data-search]").focus() : go(to("/tasks"))),
  });
  return html`<a class="skip" href="#main">Skip to the page</a>
    <div class=${`frame ${isNavigationOpen.value ? "is-open" : ""}`}>
      <aside class="side">
        <a class="brand" href=${BASE}><svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="8" fill="var(--accent)" />
          <path d="M9 11.5h14M16 11.5V23" stroke="#fff" stroke-width="3.2" stroke-linecap="round" fill="none" />
          <circle cx="23" cy="22" r="2.4" fill="#9ff0c4" /></svg><span>Taskpost</span></a>
        <button type="button" class="find" onClick=${openPalette}><${Icon} name="search" size=${14} /><span>Find or do…</span><kbd>
          ${isMac ? "⌘" : "Ctrl "}K</kbd></button>
        <nav aria-label="Pages"><${Places} /></nav>
        <div class="side-foot"><${Foot} /></div>
      </aside>
      <div class="veil" onClick=${() => { isNavigationOpen.value = false; }}></div>
      <div class="stage">
        <div class="top"><button type="button" class="quiet" aria-label="Pages" aria-expanded=${isNavigationOpen.value} onClick=${() => { isNavigationOpen.value = !isNavigationOpen.value; }}>
          <${Icon} name="menu" /></button><span>Taskpost</span></div>
        <main id="main">${children}</main>
      </div>
    </div>`;
}
const isMac = navigator.platform.startsWith("Mac");

const Places = () => html`<ul>${PLACES.map(([key, path, name, icon]) => html`<li>
  <a href=${to(path)} aria-current=${isHere(path) ? "page" : undefined} onClick=${() => { isNavigationOpen.value = false; }}>
  <${Icon} name=${icon} /><span>${name}</span><kbd>g ${key}</kbd></a></li>`)}</ul>`;

const Foot = () => html`
  <span class=${`pulse pulse-${streamState.value}`} role="status"><i></i>${STREAM_WORDS[streamState.value]}</span>
  <span class="side-buttons">
    <button type="button" class="quiet tiny" title="How times are shown (t)" onClick=${() => { times.value = nextOf(TIMES, times); }}>
      <${Icon} name="clock" size=${14} /><span>${TIMES_WORDS[times.value] ?? times.value}</span></button>
    <button type="button" class="quiet tiny" aria-label=${`Theme: ${theme.value}`} title=${`Theme: ${theme.value}`} onClick=${() => { theme.value = nextOf(THEMES, theme); }}>
      <${Icon} name=${THEME_ICONS[theme.value]} size=${14} /></button>
    <button type="button" class="quiet tiny" aria-label="Keyboard shortcuts" title="Keyboard shortcuts (?)" onClick=${openHelp}>
      <${Icon} name="keyboard" size=${14} /></button>
  </span>`;
