// Hooks that read the API: again and again while somebody looks, never while the page is hidden.
import { useEffect, useRef, useState, signal } from "./html.js";
import { get, Problem, isLocked, skew } from "./api.js";

// The service's time, moved once a second; whoever shows an age reads it.
export const now = signal(Date.now());
const turn = () => { if (!document.hidden) now.value = Date.now() + skew.peek(); };
setInterval(turn, 1000);
document.addEventListener("visibilitychange", turn);

const MOST_PAUSE_MS = 30_000;

/*
 * What `path` answers: {data, problem, refresh}. Read again every *seconds* (null: once; or what a function makes of the
 * last answer) and by refresh(); after a problem ever more slowly, with the last answer still shown. A null path asks
 * nothing. *read* gets the answer, for what takes several calls.
 */
export function usePolled(path, seconds = 3, read = get) {
  const [state, setState] = useState({ path, data: null, problem: null });
  const ask = useRef(() => {}), pace = useRef(seconds);
  pace.current = seconds;
  const paced = typeof seconds === "function" ? "by the answer" : seconds;
  useEffect(() => {
    if (path === null) return undefined;
    let timer = 0, failures = 0, isOver = false;
    let asking = null, latest = null;
    const pauseOf = () => (typeof pace.current === "function" ? pace.current(latest) : pace.current);
    const plan = (ms) => { clearTimeout(timer); if (!isOver) timer = setTimeout(look, ms); };
    async function look() {
      if (isOver) return undefined;
      if (document.hidden || isLocked.peek()) return plan(1000);
      asking?.abort();
      const mine = (asking = new AbortController());
      try {
        const data = await read(path, { signal: mine.signal });
        failures = 0;
        if (isOver || mine !== asking) return undefined;
        latest = data;
        setState({ path, data, problem: null });
        return pauseOf() === null ? undefined : plan(pauseOf() * 1000);
      } catch (problem) {
        if (!(problem instanceof Problem) || isOver) return undefined;
        failures += 1;
        setState((last) => ({ path, data: last.path === path ? last.data : null, problem }));
        if (paced === null) return undefined;
        return plan(Math.min(Math.max((problem.retryAfter ?? 0) * 1000, (pauseOf() ?? 1) * 1000 * 2 ** failures), MOST_PAUSE_MS));
      }
    }
    ask.current = look;
    look();
    const seen = () => { if (!document.hidden && pauseOf() !== null) look(); };
    document.addEventListener("visibilitychange", seen);
    return () => {
      isOver = true;
      clearTimeout(timer);
      asking?.abort();
      document.removeEventListener("visibilitychange", seen);
    };
  }, [path, paced, read]);
  const shown = state.path === path ? state : { data: null, problem: null };
  return { data: shown.data, problem: shown.problem, refresh: () => ask.current() };
}

// Calls *act* at most once each *ms*, and once more at the end.
export function useThrottled(act, ms) {
  const kept = useRef({ act, timer: 0, last: 0 });
  kept.current.act = act;
  useEffect(() => () => clearTimeout(kept.current.timer), []);
  return useRef(() => {
    const one = kept.current;
    if (one.timer) return;
    one.timer = setTimeout(() => { one.timer = 0; one.last = Date.now(); one.act(); }, Math.max(0, one.last + ms - Date.now()));
  }).current;
}

export function useTitle(title) {
  useEffect(() => { document.title = `${title} · Taskpost`; }, [title]);
}
