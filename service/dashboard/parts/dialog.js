// Dialogs on the browser's own <dialog>: it keeps the focus inside, closes on Escape and gives the focus back.
import { html, signal, useEffect, useRef, useState } from "../html.js";
import { Problem } from "../api.js";
import { Icon } from "./icons.js";
import { ProblemBox } from "./shown.js";

const open = signal(null);

// Shows *body*, a component that is given `close(answer)`; the answer, undefined when it was closed without one.
export function show(body) {
  return new Promise((answered) => { open.value = { body, answered }; });
}

export function Dialogs() {
  const element = useRef(null);
  const shown = open.value;
  const close = (answer) => {
    shown.answered(answer);
    if (open.value === shown) open.value = null;
  };
  useEffect(() => {
    if (shown && !element.current.open) element.current.showModal();
  }, [shown]);
  if (!shown) return null;
  const beside = (event) => { if (event.target === element.current) close(undefined); };
  return html`<dialog ref=${element} onCancel=${() => close(undefined)} onMouseDown=${beside} aria-labelledby="dialog-title">
    <div class="dialog"><${shown.body} close=${close} /></div></dialog>`;
}

export const DialogHead = ({ title, close }) => html`<header class="dialog-head"><h2 id="dialog-title">${title}</h2>
  <button type="button" class="quiet tiny" aria-label="Close" onClick=${() => close(undefined)}>
    <${Icon} name="cancel" /></button></header>`;

/*
 * A form with one action. *work* gets the fields' values and does it; a Problem is shown in place, and the form stays.
 * *extra* is shown above the fields and gets their values, too.
 * The promise answers what *work* answered, undefined when it was not done.
 */
export function askFor({ title, text, fields = [], does, isGrave = false, work, wide = false, extra }) {
  return show(({ close }) => {
    const [problem, setProblem] = useState(null);
    const [isBusy, setBusy] = useState(false);
    const [values, setValues] = useState(() => Object.fromEntries(fields.map((one) => [one.name, one.value ?? ""])));
    const submit = async (event) => {
      event.preventDefault();
      setBusy(true);
      try {
        close((await work(values)) ?? true);
      } catch (cause) {
        if (!(cause instanceof Problem)) throw cause;
        setProblem(cause);
        setBusy(false);
      }
    };
    return html`<form onSubmit=${submit} class=${wide ? "wide" : ""}>
      <${DialogHead} title=${title} close=${close} />
      <div class="dialog-body">
        ${text && html`<p>${text}</p>`}
        ${extra && html`<${extra} values=${values} />`}
        <${Fields} fields=${fields} values=${values} change=${(name, value) => setValues({ ...values, [name]: value })} />
        <${ProblemBox} problem=${problem} />
      </div>
      <footer class="dialog-foot"><button type="button" onClick=${() => close(undefined)}>Close</button>
        <button type="submit" class=${isGrave ? "danger" : "primary"} disabled=${isBusy}>${does}</button></footer>
    </form>`;
  });
}

// Labelled inputs: {name, label, kind: text|number|area|select|check|datetime, value, options, hint, …}.
export const Fields = ({ fields, values, change }) => fields.map((one) => html`<${Field} key=${one.name} ...${one} value=${values[one.name]} change=${(value) => change(one.name, value)} />`);

function Field({ name, label, kind = "text", value, options, hint, change, required, placeholder, rows, min, max, step, autofocus }) {
  const id = `field-${name}`;
  const common = { id, name, required, placeholder, "aria-describedby": hint ? `${id}-hint` : undefined };
  const heard = (event) => change(kind === "check" ? event.target.checked : event.target.value);
  const focus = (element) => { if (autofocus && element && !element.dataset.met) { element.dataset.met = "1"; element.focus(); } };
  const hinted = hint && html`<small id=${`${id}-hint`}>${hint}</small>`;
  if (kind === "check") {
    return html`<div class="field"><label class="check">
      <input type="checkbox" ...${common} checked=${value === true} onChange=${heard} /> ${label}</label>${hinted}</div>`;
  }
  const control =
    kind === "area" ? html`<textarea ...${common} rows=${rows ?? 6} spellcheck=${false} value=${value} onInput=${heard} ref=${focus}></textarea>`
    : kind === "select" ? html`<select ...${common} value=${value} onChange=${heard}>
      ${options.map((one) => html`<option value=${one.value ?? one} selected=${(one.value ?? one) === value}>
      ${one.label ?? one}</option>`)}</select>`
    : html`<input ...${common} type=${kind === "datetime" ? "datetime-local" : kind} min=${min} max=${max} step=${step ?? (kind === "number" ? "any" : undefined)} value=${value} onInput=${heard} ref=${focus} autocomplete="off" />`;
  return html`<div class="field"><label for=${id}>${label}</label>${control}${hinted}</div>`;
}
