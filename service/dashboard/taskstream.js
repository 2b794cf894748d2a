// What one task does while somebody looks at it: its states, its progress, and the lines that it logs.
import { useEffect, useMemo, useState } from "./html.js";
import { streamOfTask } from "./live.js";

const MOST_EVENTS = 100, MOST_LINES = 5000;
const NOTHING = { events: [], progress: null, lines: new Map() };

function taken(told, event) {
  if (event.kind === "log") {
    const lines = new Map(told.lines).set(event.attempt, [...(told.lines.get(event.attempt) ?? []), event].slice(-MOST_LINES));
    return { ...told, lines };
  }
  return { ...told, events: [event, ...told.events].slice(0, MOST_EVENTS), progress: event.kind === "progress" ? event.progress : null };
}

/*
 * {events (the newest first), progress, lines (by attempt), isLive} of task *id*, followed while *isFollowed*; *moved* is
 * called when it came into another state.
 */
export function useTaskStream(id, isFollowed, moved) {
  const [told, setTold] = useState(NOTHING);
  const stream = useMemo(() => streamOfTask(id), [id]);
  useEffect(() => {
    if (!isFollowed) return undefined;
    return stream.listen((events) => {
      setTold((last) => events.reduce(taken, last));
      if (events.some((one) => one.kind === "task")) moved();
    });
  }, [stream, isFollowed]);
  return { ...told, isLive: stream.state.value === "live" };
}
