// Calls of the public API. A refusal is thrown as a Problem, with every fault that the service named.
import { signal } from "./html.js";

// Set when the service asks for a key; the sign-in page shows until there is one, with why it is asked for again.
export const isLocked = signal(false);
export const whyLocked = signal("");
// Who asks, as the service says it (the contract's Session); null until it is known. The key itself is in a cookie that no script can read.
export const me = signal(null);
// How far this machine's clock is behind the service's, in ms: ages count by the service's clock.
export const skew = signal(0);

// The service asks for a key: there was none, or the session has ended, since its key was revoked or its time is over.
export function lock(reason) {
  if (isLocked.peek()) return;
  whyLocked.value = me.peek() ? reason ?? "" : "";
  me.value = null;
  isLocked.value = true;
}

// What the key lacks for what needs *scope*; "" when it may, and while nobody knows.
export const whyNot = (scope) => (!scope || !me.value || me.value.scopes.includes(scope) ? "" : `The key “${me.value.key_name}” may not do this: it needs ${scope}`);
// The last attributes of a control that needs *scope*: they turn it off, with the reason.
export const needing = (scope) => (whyNot(scope) ? { disabled: true, title: whyNot(scope) } : {});

const SESSION = "/v1/session";

export class Problem extends Error {
  // *document* is RFC 9457; *status* 0 means that no answer came.
  constructor(status, document, retryAfter = null) {
    super(document.detail ?? document.title ?? `the service answered ${status}`);
    Object.assign(this, { status, title: document.title ?? "", type: document.type ?? "", retryAfter });
    this.faults = document.errors ?? [];
  }
}

// Every fault as one line: where, and what.
export const faultLine = (fault) => {
  const where = fault.parameter ?? fault.pointer ?? fault.header ?? "";
  return where ? `${where}: ${fault.detail}` : fault.detail;
};

const noAnswer = (cause) =>
  new Problem(0, { title: "No answer", detail: `The service did not answer (${cause.message}). It is asked again.` });

const read = async (response) => {
  const text = await response.text();
  if (!(response.headers.get("content-type") ?? "").includes("json")) return text;
  return text ? JSON.parse(text) : null;
};

// What *path* answers, with its status and headers. *body* goes as JSON.
async function exchange(method, path, body, { headers = {}, signal: until } = {}) {
  const sent = { accept: "application/json", ...headers };
  if (body !== undefined) sent["content-type"] = "application/json";
  let response;
  try {
    const content = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(path, { method, headers: sent, body: content, signal: until, credentials: "same-origin" });
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw noAnswer(cause);
  }
  const said = Date.parse(response.headers.get("date") ?? "");
  // The header has whole seconds: only a real difference counts.
  if (said && Math.abs(said - Date.now() - skew.peek()) > 2000) skew.value = said - Date.now();
  const content = await read(response).catch(() => null);
  if (response.ok) return { status: response.status, headers: response.headers, content };
  if (response.status === 401 && path !== SESSION) lock(content?.detail);
  const wait = Number(response.headers.get("retry-after")) || null;
  const isDocument = content !== null && typeof content === "object";
  throw new Problem(response.status, isDocument ? content : { detail: String(content || response.statusText) }, wait);
}

export const call = async (method, path, body, options) => (await exchange(method, path, body, options)).content;
export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);

export const learn = () => get(SESSION).then((known) => { me.value = known; }, (cause) => {
  if (cause.status === 401) lock();
});

export async function signIn(key) {
  me.value = await post(SESSION, { key });
  isLocked.value = false;
}

export async function signOut() {
  await call("DELETE", SESSION);
  me.value = null;
  lock();
}

// *given* as a query string, empty values left out.
export function queryOf(given) {
  const pairs = Object.entries(given).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}
export const part = encodeURIComponent;
