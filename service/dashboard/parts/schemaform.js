// A form made from a JSON Schema of arguments, as handlers publish it. What it cannot draw is a field of JSON.
import { html } from "../html.js";

// What *schema* refers to, within *root*.
const resolve = (schema, root) => {
  let found = schema;
  for (let n = 0; found?.$ref && n < 20; n += 1) found = found.$ref.replace(/^#\//, "").split("/").reduce((node, name) => node?.[name], root);
  return found ?? {};
};

// [kind of input, the schema that it is for]; a choice between one thing and null is that thing.
function kindOf(given, root) {
  const schema = resolve(given, root);
  const choices = (schema.anyOf ?? []).map((one) => resolve(one, root)).filter((one) => one.type !== "null");
  if (choices.length === 1) return kindOf({ ...choices[0], default: schema.default }, root);
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  if (schema.enum) return ["select", schema];
  return [{ integer: "number", number: "number", string: "text", boolean: "check" }[type] ?? "json", { ...schema, type }];
}

export const fieldsOf = (schema) => Object.entries(schema?.properties ?? {}).map(([name, given]) => {
  const [kind, own] = kindOf(given, schema);
  return { name, kind, schema: own, isRequired: (schema.required ?? []).includes(name) };
});

// The arguments that the texts of the inputs mean; a text that is none of its kind goes as it is, for the service to name.
export function argsOf(fields, texts) {
  const args = {};
  for (const { name, kind, schema, isRequired } of fields) {
    const text = texts[name];
    if (kind === "check") { if (text !== undefined) args[name] = text; else if (isRequired) args[name] = false; continue; }
    if (text === undefined || (text === "" && !(isRequired && kind === "text"))) continue;
    if (kind === "number") args[name] = Number.isNaN(Number(text)) ? text : Number(text);
    else if (kind === "json") args[name] = parsed(text);
    else if (kind === "select") args[name] = schema.enum.find((one) => String(one) === text) ?? text;
    else args[name] = text;
  }
  return args;
}
const parsed = (text) => { try { return JSON.parse(text); } catch { return text; } };

// The other way round: the texts that stand for *args*.
export const textsOf = (fields, args) => Object.fromEntries(fields.filter(({ name }) => name in (args ?? {})).map(({ name, kind }) => [name, kind === "check" ? args[name] : kind === "json" ? JSON.stringify(args[name], null, 2) : String(args[name])]));

const bounds = (schema) => [
  schema.minimum !== undefined && `at least ${schema.minimum}`, schema.maximum !== undefined && `at most ${schema.maximum}`,
  schema.minLength !== undefined && `${schema.minLength} characters or more`, schema.maxLength !== undefined && `up to ${schema.maxLength} characters`,
  schema.pattern && `matching ${schema.pattern}`, schema.default !== undefined && schema.default !== null && `otherwise ${JSON.stringify(schema.default)}`,
].filter(Boolean).join(", ");

export const SchemaForm = ({ fields, texts, change }) => fields.map((one) => html`<${Field} key=${one.name} ...${one} text=${texts[one.name]} change=${(text) => change({ ...texts, [one.name]: text })} />`);

function Field({ name, kind, schema, isRequired, text, change }) {
  const id = `arg-${name}`, hint = [schema.description, bounds(schema)].filter(Boolean).join(". ");
  const common = { id, "aria-describedby": hint ? `${id}-hint` : undefined, "aria-required": isRequired };
  const heard = (event) => change(event.target.value);
  const placeholder = schema.default !== undefined ? JSON.stringify(schema.default) : schema.examples?.[0] !== undefined ? JSON.stringify(schema.examples[0]) : "";
  const control = kind === "check" ? html`<input type="checkbox" ...${common} checked=${text ?? schema.default ?? false} onChange=${(event) => change(event.target.checked)} />`
    : kind === "select" ? html`<select ...${common} value=${text ?? ""} onChange=${heard}><option value="">
      ${isRequired ? "choose one" : "as it is"}</option>
      ${schema.enum.map((one) => html`<option value=${String(one)} selected=${String(one) === text}>${String(one)}</option>`)}</select>`
    : kind === "json" ? html`<textarea ...${common} rows="4" spellcheck=${false} placeholder=${placeholder || "JSON"} value=${text ?? ""} onInput=${heard}></textarea>`
    : html`<input ...${common} type=${kind} step=${schema.type === "integer" ? 1 : "any"} placeholder=${placeholder} value=${text ?? ""} onInput=${heard} autocomplete="off" />`;
  return html`<div class="field"><label for=${id}><code>${name}</code> <span class="faint">
    ${schema.type ?? "any"}${isRequired ? "" : ", may be left out"}</span></label>${control}${hint && html`<small id=${`${id}-hint`}>
    ${hint}</small>`}</div>`;
}
