// Calls of the public API. A refusal is thrown as a Problem, with every fault that the service named.
import { signal } from "./html.js";

// Set when the service asks for a key; the sign-in page shows until there is one.
export const isLocked = signal(false);
// How far this machine's clock is behind the service's, in ms: ages count by the service's clock.
export const skew = signal(0);

const KEY = "taskpost.key";
export const key = () => sessionStorage.getItem(KEY) ?? "";
export const setKey = (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY));
export const authorization = () => (key() ? { authorization: `Bearer ${key()}` } : {});

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
  const sent = { accept: "application/json", ...authorization(), ...headers };
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
  if (response.status === 401) isLocked.value = true;
  const wait = Number(response.headers.get("retry-after")) || null;
  const isDocument = content !== null && typeof content === "object";
  throw new Problem(response.status, isDocument ? content : { detail: String(content || response.statusText) }, wait);
}

export const call = async (method, path, body, options) => (await exchange(method, path, body, options)).content;
export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);

// *given* as a query string, empty values left out.
export function queryOf(given) {
  const pairs = Object.entries(given).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}
export const part = encodeURIComponent;
