// What somebody chose for this browser: theme, zone of times, size of rows. Kept in localStorage, changed nowhere else.
import { effect, signal } from "./html.js";

const kept = (name, fallback) => {
  const one = signal(localStorage.getItem(`taskpost.${name}`) ?? fallback);
  effect(() => localStorage.setItem(`taskpost.${name}`, one.value));
  return one;
};

export const THEMES = ["system", "light", "dark"];
export const theme = kept("theme", "system");
effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});

// "age" says how long ago, in the browser's zone; any other value is an IANA zone, or "local".
export const TIMES = ["age", "local", "UTC"];
export const times = kept("times", "age");
export const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export const nextOf = (all, one) => all[(all.indexOf(one.value) + 1) % all.length];
