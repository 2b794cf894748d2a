// Playground: submit a task with a form made from its handler's schema, see the curl that does the same, watch the end.
import { html, useEffect, useMemo, useState } from "../html.js";
import { get, needing, post, Problem } from "../api.js";
import { curlOf } from "../curl.js";
import { readJson } from "../actions.js";
import { query, setQuery, to } from "../route.js";
import { usePolled, useTitle } from "../use.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { Fields } from "../parts/dialog.js";
import { argsOf, fieldsOf, SchemaForm, textsOf } from "../parts/schemaform.js";
import { Badge, Code, Copy, Empty, Head, ProblemBox, Section, State } from "../parts/shown.js";

const OPTIONS = [
  { name: "queue", label: "Queue", placeholder: "as the handler says" },
  { name: "priority", label: "Priority", kind: "number", min: 0, max: 9, step: 1, placeholder: "5" },
  { name: "delay_seconds", label: "Delay, in seconds", kind: "number", min: 0, placeholder: "0" },
  { name: "retries", label: "Retries", kind: "number", min: 0, step: 1, placeholder: "as the handler says" },
  { name: "timeout_seconds", label: "Time limit, in seconds", kind: "number", min: 0, placeholder: "as the handler says" },
  { name: "tags", label: "Tags, by comma", placeholder: "customer-42" },
];
const NUMBERS = ["priority", "delay_seconds", "retries", "timeout_seconds"];
const URL_FIELDS = [
  { name: "url", label: "URL", required: true, placeholder: "https://api.example.com/hooks/orders" },
  { name: "method", label: "Method", kind: "select", options: ["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"] },
  { name: "headers", label: "Header fields, as JSON", kind: "area", rows: 2, placeholder: '{"X-Tenant": "acme"}' },
  { name: "body", label: "Body, as JSON", kind: "area", rows: 5, placeholder: '{"order": 4711}' },
];

const optionsOf = (texts) => Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== "" && text !== undefined)
  .map(([name, text]) => [name, NUMBERS.includes(name) ? Number(text) : name === "tags" ? text.split(",").map((tag) => tag.trim()).filter(Boolean) : text]));

function urlOf(texts) {
  const made = { url: texts.url ?? "", ...(texts.method && texts.method !== "POST" ? { method: texts.method } : {}) };
  for (const name of ["headers", "body"]) if (texts[name]?.trim()) made[name] = readJson(texts[name], name === "body" ? "Body" : "Header fields");
  return made;
}

export function Playground() {
  useTitle("Playground");
  const handlers = usePolled("/v1/handlers", 10);
  const { name = "", from = "" } = query.value;
  const all = handlers.data?.items ?? [];
  const handler = all.find((one) => one.name === name) ?? (name === "url" ? null : all[0] ?? null);
  const isUrl = name === "url" || (!handler && handlers.data !== null);
  const fields = useMemo(() => fieldsOf(handler?.args_schema), [handler?.name, handlers.data !== null]);
  const [texts, setTexts] = useState({}), [call, setCall] = useState({ method: "POST" }), [options, setOptions] = useState({});
  useEffect(() => { if (!from) setTexts({}); }, [handler?.name]);
  useEffect(() => { if (from && handlers.data) fill(from, all, setTexts, setCall, setOptions); }, [from, handlers.data !== null]);
  const made = useMemo(() => {
    try { return { submission: { ...(isUrl ? urlOf(call) : { name: handler?.name, args: argsOf(fields, texts) }), ...optionsOf(options) } }; }
    catch (problem) { if (!(problem instanceof Problem)) throw problem; return { problem }; }
  }, [isUrl, handler?.name, fields, texts, call, options]);
  return html`<${Head} title="Playground" lead="Submit a task by hand. What a handler takes is what it published when its worker started." />
    <${ProblemBox} problem=${handlers.problem} retry=${handlers.refresh} />
    <div class="split"><form class="column" id="playground" onSubmit=${(event) => event.preventDefault()}>
      <div class="field"><label for="what">What to do</label>
        <select id="what" value=${isUrl ? "url" : handler?.name} onChange=${(event) => setQuery({ name: event.target.value, from: "" })}>
        ${all.map((one) => html`<option value=${one.name} selected=${!isUrl && one.name === handler?.name}>${one.name}</option>`)}
          <option value="url" selected=${isUrl}>Call a URL</option></select></div>
      ${!isUrl && handler && html`<p class="muted">${handler.description} <${Badge}>
        ${handler.lane}</${Badge}> <${Badge} tone=${handler.workers ? "good" : "bad"}>
        ${handler.workers ? `${handler.workers} live ${handler.workers === 1 ? "worker" : "workers"}` : "no live worker"}</${Badge}></p>`}
      <div class="panel padded fields">
        ${isUrl ? html`<${Fields} fields=${URL_FIELDS} values=${call} change=${(field, value) => setCall({ ...call, [field]: value })} />`
        : fields.length ? html`<${SchemaForm} fields=${fields} texts=${texts} change=${setTexts} />` : html`<p class="muted">
          ${handler ? "It takes no arguments." : "No worker has published a handler yet."}</p>`}</div>
      <details class="panel padded"><summary>Options</summary><div class="fields two">
        <${Fields} fields=${OPTIONS} values=${options} change=${(field, value) => setOptions({ ...options, [field]: value })} /></div></details>
    </form>
    <div class="column"><${Send} made=${made} /></div></div>`;
}

async function fill(from, all, setTexts, setCall, setOptions) {
  const task = await get(`/v1/tasks/${from}`).catch(() => null);
  if (!task) return;
  setQuery({ name: task.name ?? "url" });
  if (task.name) setTexts(textsOf(fieldsOf(all.find((one) => one.name === task.name)?.args_schema), task.args));
  else setCall({ url: task.url, method: task.method, headers: task.headers ? JSON.stringify(task.headers) : "", body: task.body !== undefined ? JSON.stringify(task.body, null, 2) : "" });
  setOptions({ queue: task.queue, priority: String(task.priority), tags: task.tags.join(", ") });
}

function Send({ made }) {
  const [sent, setSent] = useState(null), [problem, setProblem] = useState(null), [isBusy, setBusy] = useState(false);
  const task = usePolled(sent ? `/v1/tasks/${sent.id}` : null, sent && !sent.finished_at ? 1 : null);
  const send = async () => {
    setBusy(true);
    setProblem(null);
    try {
      setSent(await post("/v1/tasks", made.submission, { headers: { prefer: "wait=2" } }));
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      setProblem(cause);
    }
    setBusy(false);
  };
  const shown = task.data ?? sent;
  return html`<${Section} title="What is sent" id="sent" aside=${made.submission && html`<${Copy} text=${curlOf(made.submission)} label="Copy curl" />`}>
      ${made.submission ? html`<${Code} text=${curlOf(made.submission)} label="command" />` : html`<${ProblemBox} problem=${made.problem} />`}
      <div class="buttons"><button type="submit" form="playground" class="primary" disabled=${isBusy || !made.submission} onClick=${send} ...${needing("tasks:write")}>
        <${Icon} name="play" size=${14} />Submit</button></div></${Section}>
    <${ProblemBox} problem=${problem} />
    ${shown ? html`<${Section} title="What came of it" id="came" aside=${html`<a class="link" href=${to(`/tasks/${shown.id}`)}>Open the task</a>`}>
      <div class="panel padded came" aria-live="polite"><span class="idline"><${State} state=${shown.state} /><code class="mono">
      ${shown.id}</code></span>
        ${"result" in shown && html`<${Json} value=${shown.result} label="result" />`}${shown.error && html`<p class="grave"><strong>
          ${shown.error.type}</strong> ${shown.error.message}</p>`}</div></${Section}>`
      : html`<${Empty} icon="playground" title="Nothing submitted yet">The task and its result appear here.</${Empty}>`}`;
}
