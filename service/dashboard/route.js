// Where we are: path and query of the address below /ui, as a signal. Links are plain links; clicks on them stay here.
import { computed, signal } from "./html.js";

export const BASE = "/ui";
const read = () => ({ path: location.pathname.slice(BASE.length).replace(/\/+$/, "") || "/", query: location.search });
export const place = signal(read());
export const query = computed(() => Object.fromEntries(new URLSearchParams(place.value.query)));

export const to = (path, given = {}) => {
  const pairs = Object.entries(given).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return `${BASE}${path === "/" ? "" : path}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`;
};

const moved = () => { place.value = read(); };
export function go(url) {
  history.pushState(null, "", url);
  moved();
  scrollTo(0, 0);
  // Who listens to the page is told where it is now, and the keyboard begins there.
  requestAnimationFrame(() => document.querySelector("main h1")?.focus({ preventScroll: true }));
}

// Changes the query in place, so that "back" leaves the page instead of undoing each letter.
export function setQuery(changes) {
  const given = { ...query.peek(), ...changes };
  history.replaceState(null, "", to(place.peek().path, given));
  moved();
}

addEventListener("popstate", moved);
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
  if (link.origin !== location.origin || !`${link.pathname}/`.startsWith(`${BASE}/`)) return;
  event.preventDefault();
  go(link.pathname + link.search);
});

// The first of *routes* ([pattern, page]) that fits *path*, with what its `:names` stand for.
export function match(routes, path) {
  for (const [pattern, page] of routes) {
    const names = [...pattern.matchAll(/:(\w+)/g)].map((one) => one[1]);
    const found = path.match(new RegExp(`^${pattern.replace(/:\w+/g, "([^/]+)")}$`));
    if (found) return { page, given: Object.fromEntries(names.map((name, n) => [name, decodeURIComponent(found[n + 1])])) };
  }
  return null;
}
