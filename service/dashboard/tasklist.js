// The list of tasks that a filter means: its first page kept fresh, the others loaded as one scrolls.
import { useEffect, useRef, useState } from "./html.js";
import { get, Problem, queryOf } from "./api.js";
import { listen, streamState } from "./live.js";
import { useThrottled } from "./use.js";

const PAGE = 100, MOST_EMPTY_PAGES = 30, FRESH_MS = 1000, ASK_MS = 3000;

// What a row shows; arguments and results of 100,000 tasks would fill the browser's memory.
const slim = ({ id, name, url, method, state, queue, priority, attempt, retries, created_at, run_at, started_at, finished_at, tags, error, progress }) => ({
  id, name, url, method, state, queue, priority, attempt, retries, created_at, run_at, started_at, finished_at, tags, progress,
  error: error && { type: error.type, message: error.message.slice(0, 200) },
});

// Pages until there are rows or the end: a rare filter may answer pages without any.
async function pages(filter, cursor, until) {
  const rows = [];
  for (let n = 0; n < MOST_EMPTY_PAGES; n += 1) {
    const page = await get(`/v1/tasks${queryOf({ ...filter, limit: PAGE, cursor })}`, { signal: until });
    rows.push(...page.items.map(slim));
    cursor = page.next_cursor;
    if (rows.length || cursor === null) break;
  }
  return { rows, cursor };
}

/*
 * {rows, isWhole, isLoading, problem, more, refresh, waiting}. While *isHeld* nothing moves under the reader: *waiting*
 * counts the changes that are held back until refresh() or the end of the hold.
 */
export function useTasks(filter, isHeld) {
  const key = JSON.stringify(filter);
  const empty = { key, rows: [], cursor: undefined, problem: null, isLoading: true, isWhole: false };
  const [list, setList] = useState(empty);
  const [waiting, setWaiting] = useState(0);
  const held = useRef({});
  Object.assign(held.current, { list, isHeld, filter, key });

  const failed = (cause) => {
    if (cause instanceof Problem) setList((last) => ({ ...last, problem: cause, isLoading: false }));
    else if (cause.name !== "AbortError") throw cause;
  };
  const refresh = async () => {
    const mine = held.current.key;
    setWaiting(0);
    await pages(filter, undefined).then(({ rows, cursor }) => {
      // What was loaded behind the first page is loaded again when it comes into sight: rows have moved between pages meanwhile.
      if (held.current.key === mine) setList({ key: mine, rows, cursor, isWhole: cursor === null, isLoading: false, problem: null });
    }).catch(failed);
  };
  const more = async () => {
    const { list: last, key: mine } = held.current;
    if (held.current.isBusy || last.key !== mine || !last.cursor) return;
    held.current.isBusy = true;
    await pages(held.current.filter, last.cursor).then(({ rows, cursor }) => {
      if (held.current.key !== mine) return;
      setList((now) => ({ ...now, rows: [...now.rows, ...unknown(now.rows, rows)], cursor, isWhole: cursor === null }));
    }).catch(failed);
    held.current.isBusy = false;
  };
  const fresh = useThrottled(() => {
    if (!held.current.isHeld && !document.hidden) refresh();
  }, FRESH_MS);

  useEffect(() => { setList(empty); setWaiting(0); refresh(); }, [key]);
  useEffect(() => { if (!isHeld) fresh(); }, [isHeld]);
  useEffect(() => listen((events) => {
    const moved = events.filter((event) => event.kind !== "progress");
    if (!moved.length) return;
    patch(moved, held.current.list.rows, setList);
    if (held.current.isHeld) setWaiting((n) => n + countOf(moved));
    else fresh();
  }), []);
  useEffect(() => {
    const timer = setInterval(() => { if (streamState.peek() !== "live") fresh(); }, ASK_MS);
    return () => clearInterval(timer);
  }, []);
  return { ...(list.key === key ? list : empty), more, refresh, waiting };
}

export const countOf = (events) => events.reduce((sum, event) => sum + (event.count ?? 1), 0);

const unknown = (rows, found) => {
  const known = new Set(rows.slice(-2 * PAGE).map((row) => row.id));
  return found.filter((row) => !known.has(row.id));
};

// Rows that are shown take their new state at once, whether the list is held or not.
function patch(events, rows, setList) {
  const moved = new Map(events.filter((event) => event.kind === "task").map((event) => [event.id, event]));
  const isShown = rows.some((row) => moved.has(row.id) && moved.get(row.id).state !== row.state);
  if (!isShown) return;
  setList((last) => ({ ...last, rows: last.rows.map((row) => {
    const event = moved.get(row.id);
    return event && event.state !== row.state ? { ...row, state: event.state, attempt: event.attempt ?? row.attempt } : row;
  }) }));
}
