// The groups of a queue: whose tasks take turns in it, and how much of it each gets.
import { html } from "../html.js";
import { call, needing, part } from "../api.js";
import { compact, number, percent } from "../format.js";
import { to } from "../route.js";
import { usePolled } from "../use.js";
import { askFor } from "./dialog.js";
import { Icon } from "./icons.js";
import { Table } from "./rows.js";
import { ProblemBox, Section } from "./shown.js";

const MOST = 100;

const weigh = (queue, group) => askFor({
  title: group ? `Weight of ${group.name}` : "Weight of a group", does: "Save",
  text: "A group of weight 3 starts three tasks for each one of a group of weight 1, from its next turn on. Empty makes it 1 again.",
  fields: [
    !group && { name: "name", label: "Group", required: true, placeholder: "tenant-42", hint: "It may have none of its tasks here yet.", autofocus: true },
    { name: "weight", label: "Weight", kind: "number", min: 0.001, max: 1000, value: String(group?.weight ?? ""), placeholder: "1", autofocus: Boolean(group) },
  ].filter(Boolean),
  work: ({ name, weight }) => call("PATCH", `/v1/queues/${part(queue)}/groups/${part(group?.name ?? name)}`, { weight: weight === "" ? null : Number(weight) }),
});

export function Groups({ queue }) {
  const polled = usePolled(`/v1/queues/${part(queue)}/groups`, 3);
  if (!polled.data) return html`<${ProblemBox} problem=${polled.problem} retry=${polled.refresh} />`;
  const ask = (group) => weigh(queue, group).then(polled.refresh);
  const items = polled.data.items.toSorted((a, b) => b.tasks - a.tasks || a.name.localeCompare(b.name));
  const aside = html`<span class="faint">${items.length > MOST ? `the ${MOST} with the most tasks of ${number(items.length)}` : ""}</span>
    ${" "}<button type="button" class="small" onClick=${() => ask()} ...${needing("queues:write")}><${Icon} name="plus" size=${14} />Weight…</button>`;
  return html`<${Section} title="Groups" id="groups" aside=${html`<span class="idline">${aside}</span>`}>
    ${items.length ? html`<${Table} rows=${items.slice(0, MOST)} columns=${columnsOf(queue, items, ask)} label="Groups" />`
      : html`<p class="muted">None. Tasks that are submitted with <code>${'"group": "tenant-42"'}</code> take turns with those of other groups, so that nobody's thousand tasks hold up the next one's first.</p>`}</${Section}>`;
}

// What each gets of the queue now: only groups that have tasks take turns.
const shareOf = (group, items) => (group.tasks ? group.weight / items.reduce((sum, one) => sum + (one.tasks ? one.weight : 0), 0) : null);

const columnsOf = (queue, items, ask) => [
  { title: "Group", show: (one) => html`<a class="name" href=${to("/tasks", { q: `queue:${queue} group:${one.name} state:scheduled,queued,running` })}>${one.name}</a>` },
  { title: "Tasks", class: "right tight", show: (one) => compact(one.tasks) },
  { title: "Weight", class: "right tight", show: (one) => number(one.weight) },
  { title: "Its share now", class: "right tight", show: (one) => percent(shareOf(one, items)) },
  { title: html`<span class="offscreen">Actions</span>`, class: "tight", show: (one) => html`<button type="button" class="small quiet" aria-label=${`Weight of ${one.name}`} onClick=${() => ask(one)} ...${needing("queues:write")}>
    <${Icon} name="edit" size=${14} />Weight…</button>` },
];
