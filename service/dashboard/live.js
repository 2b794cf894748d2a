// Event streams, read with fetch so that a refusal can be told from silence: one for the whole page, and one of a task that is looked
// at. Nobody listening: no stream.
import { signal } from "./html.js";
import { lock, part } from "./api.js";

// More than a screen can show and a reader can follow; the service sums up what is beyond.
const MOST_A_SECOND = 100;
// Why there is nothing more to come: the task has ended, or this service has no such stream.
const ENDS = { 204: "over", 404: "absent" };

/*
 * A stream of *path*: {listen, state}. listen(heard) calls *heard* with lists of events, at most once a frame; its answer
 * ends that. Events have a `kind`, one of *kinds*. The state is "off" (nobody listens), "connecting", "live", "over" or
 * "absent"; in the last one pages ask instead.
 */
function streamOf(path, kinds) {
  const state = signal("off"), listeners = new Set();
  let stopping = null, lastId = "", waiting = [];

  const deal = () => {
    const events = waiting;
    waiting = [];
    for (const heard of listeners) heard(events);
  };
  const note = (event) => {
    // A hidden page draws no frames: it keeps the newest only, and asks for the rest when it is seen again.
    if (waiting.length > 5000) waiting.splice(0, 2500);
    if (waiting.push(event) === 1) requestAnimationFrame(deal);
  };
  const take = ({ kind, data, id }) => {
    if (id !== null) lastId = id;
    if (data && kinds.includes(kind)) note({ ...JSON.parse(data), kind });
  };

  // Reads until the stream ends. Why none will come again, else null.
  async function follow(until, began) {
    const headers = { accept: "text/event-stream", ...(lastId ? { "last-event-id": lastId } : {}) };
    const response = await fetch(path, { headers, signal: until, credentials: "same-origin" });
    if (ENDS[response.status]) return ENDS[response.status];
    if (response.status === 401) lock((await response.json().catch(() => null))?.detail);
    if (!response.ok) throw new Error(`the stream was refused: ${response.status}`);
    state.value = "live";
    began();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return null;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      blocks.map(read).forEach(take);
    }
  }

  async function start() {
    const mine = (stopping = new AbortController());
    for (let failures = 0; mine === stopping; ) {
      state.value = "connecting";
      try {
        const end = await follow(mine.signal, () => { failures = 0; });
        if (mine !== stopping) return;
        if (end) { state.value = end; return; }
      } catch (cause) {
        if (mine !== stopping) return;
      }
      failures += 1;
      await new Promise((done) => setTimeout(done, Math.min(500 * 2 ** failures, 15_000) * (0.5 + Math.random() / 2)));
    }
  }
  const stop = () => {
    stopping?.abort();
    stopping = null;
    state.value = "off";
  };
  const listen = (heard) => {
    listeners.add(heard);
    if (!stopping) start();
    return () => {
      listeners.delete(heard);
      if (!listeners.size) stop();
    };
  };
  return { listen, state };
}

// One event out of its lines.
function read(block) {
  const event = { kind: "message", data: "", id: null };
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("data:")) event.data += line.slice(5).trimStart();
    else if (line.startsWith("event:")) event.kind = line.slice(6).trim();
    else if (line.startsWith("id:")) event.id = line.slice(3).trim();
  }
  return event;
}

// Tasks that moved, told their progress, or were left out (with their `count`).
export const { listen, state: streamState } = streamOf(`/v1/events?rate=${MOST_A_SECOND}`, ["task", "progress", "omitted", "gap"]);
// How one task stands, then whatever it does and logs.
export const streamOfTask = (id) => streamOf(`/v1/tasks/${part(id)}/events`, ["task", "progress", "log"]);
