// One event stream for the whole page, read with fetch so that it can carry a key. Nobody listening: no stream.
import { signal } from "./html.js";
import { authorization, isLocked } from "./api.js";

// "off" (nobody listens), "connecting", "live", or "absent" (this service has no stream; pages then ask instead).
export const streamState = signal("off");
// Events as listeners get them have a `kind`: a task moved, told its progress, or some were left out (with their `count`).
const KINDS = ["task", "progress", "omitted", "gap"];
// More than a screen can show and a reader can follow; the service sums up what is beyond.
const MOST_A_SECOND = 100;
const listeners = new Set();
let stopping = null, lastId = "";

// Calls *heard* with lists of events, at most once a frame. The answer ends it.
export function listen(heard) {
  listeners.add(heard);
  if (!stopping) start();
  return () => {
    listeners.delete(heard);
    if (!listeners.size) stop();
  };
}

function stop() {
  stopping?.abort();
  stopping = null;
  streamState.value = "off";
}

let waiting = [];
function deal() {
  const events = waiting;
  waiting = [];
  for (const heard of listeners) heard(events);
}

function note(event) {
  // A hidden page draws no frames: it keeps the newest only, and asks for the rest when it is seen again.
  if (waiting.length > 5000) waiting.splice(0, 2500);
  if (waiting.push(event) === 1) requestAnimationFrame(deal);
}

async function start() {
  const mine = (stopping = new AbortController());
  for (let failures = 0; mine === stopping; ) {
    streamState.value = "connecting";
    try {
      const isOffered = await follow(mine.signal, () => { failures = 0; });
      if (!isOffered) { streamState.value = "absent"; return; }
    } catch (cause) {
      if (mine !== stopping) return;
    }
    failures += 1;
    await new Promise((done) => setTimeout(done, Math.min(500 * 2 ** failures, 15_000) * (0.5 + Math.random() / 2)));
  }
}

// Reads until the stream ends. False when there is none at this service.
async function follow(until, began) {
  const headers = { accept: "text/event-stream", ...authorization(), ...(lastId ? { "last-event-id": lastId } : {}) };
  const response = await fetch(`/v1/events?rate=${MOST_A_SECOND}`, { headers, signal: until, credentials: "same-origin" });
  if (response.status === 404) return false;
  if (response.status === 401) isLocked.value = true;
  if (!response.ok) throw new Error(`the stream was refused: ${response.status}`);
  streamState.value = "live";
  began();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return true;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    blocks.forEach(take);
  }
}

function take(block) {
  let data = "", kind = "message";
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("data:")) data += line.slice(5).trimStart();
    else if (line.startsWith("event:")) kind = line.slice(6).trim();
    else if (line.startsWith("id:")) lastId = line.slice(3).trim();
  }
  if (data && KINDS.includes(kind)) note({ ...JSON.parse(data), kind });
}
