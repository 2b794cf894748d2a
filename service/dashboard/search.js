// The query bar's language: `state:failed name:email.* age:<1h` as filters of the API, and back. Pure.
const STATES = "scheduled queued running cancelling succeeded failed cancelled expired".split(" ");
const UNITS = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

// What may stand before a colon: [filter of the API, what it is, examples].
export const QUALIFIERS = {
  state: ["state", "in this state, or in one of several by comma", STATES],
  queue: ["queue", "in this queue", []],
  name: ["name", "of this handler; * stands for any text", []],
  tag: ["tag", "with exactly this tag", []],
  error: ["error_type", "failed with this type of error; * stands for any text", ["TimeoutError", "HttpStatus*", "worker_lost"]],
  attempts: ["attempts", "with so many attempts; >2: more, <2: fewer", [">1", ">2", "1"]],
  http: ["http_status", "whose URL answered so", ["5xx", "4xx", "503"]],
  flow: ["flow", "of this flow key", []],
  group: ["group", "of this group", []],
  schedule: ["schedule", "made by this schedule", []],
  parent: ["parent", "parts of this task", []],
  age: ["created", "submitted so long ago: <1h within an hour, >1d more than a day", ["<15m", "<1h", "<1d", ">1d"]],
  ended: ["finished", "ended so long ago: <1h, >1d", ["<15m", "<1h", "<1d"]],
};
export const TASK_ID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i;

// The words of *text*; quotes keep a word with spaces together.
export const words = (text) => [...text.matchAll(/(?:[^\s"]|"[^"]*")+/g)].map((one) => one[0]);
const bare = (text) => text.replaceAll('"', "");

/*
 * {filter, faults, id}: *filter* for the API, *faults* in words, *id* when the text is the id of a task. Times count from
 * *nowMs*. A bare word is a part of the handler's name.
 */
export function parse(text, nowMs) {
  const filter = {}, faults = [];
  const all = words(text);
  if (all.length === 1 && TASK_ID.test(all[0])) return { filter, faults, id: all[0].toUpperCase() };
  const put = (name, value, word) => {
    if (name in filter) faults.push(`${word}: there is one ${name.replace("_", " ")} already; separate states by comma`);
    else filter[name] = value;
  };
  for (const word of all) {
    const [, name, value] = word.match(/^([a-z_]+):(.*)$/is) ?? [null, "", word];
    const known = QUALIFIERS[name.toLowerCase()];
    if (!name) put("name", `*${bare(value)}*`.replaceAll("**", "*"), word);
    else if (!known) faults.push(`${name}: is no qualifier; there are ${Object.keys(QUALIFIERS).join(", ")}`);
    else if (!bare(value)) faults.push(`${name}: wants a value, such as ${known[2][0] ?? "a name"}`);
    else if (name === "age" || name === "ended") time(known[0], bare(value), nowMs, put, faults, name);
    else put(known[0], bare(value), word);
  }
  faults.push(...wrongStates(filter.state));
  return { filter, faults, id: null };
}

function time(field, value, nowMs, put, faults, name) {
  const [, sign, figure, unit] = value.match(/^([<>]?)(\d+(?:\.\d+)?)([smhdw])$/i) ?? [];
  if (!unit) { faults.push(`${name}: wants a span such as <1h or >2d, not ${value}`); return; }
  const at = new Date(nowMs - Number(figure) * UNITS[unit.toLowerCase()] * 1000).toISOString();
  put(`${field}_${sign === ">" ? "before" : "after"}`, at, `${name}:${value}`);
}

const wrongStates = (state) => (state ?? "").split(",").filter((one) => one && !STATES.includes(one)).map((one) => `state:${one} is no state; there are ${STATES.join(", ")}`);

// *text* with the qualifier *name* set to *value*, or without it when that is empty.
export function withQualifier(text, name, value) {
  const rest = words(text).filter((word) => !word.startsWith(`${name}:`));
  const quoted = /\s/.test(value) ? `"${value}"` : value;
  return [...rest, ...(value ? [`${name}:${quoted}`] : [])].join(" ");
}
export const qualifier = (text, name) => bare(words(text).find((word) => word.startsWith(`${name}:`))?.slice(name.length + 1) ?? "");
