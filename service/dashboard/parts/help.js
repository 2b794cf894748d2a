// The keys, told by "?".
import { html } from "../html.js";
import { DialogHead, show } from "./dialog.js";

const KEYS = [
  ["Anywhere", [["⌘K or Ctrl K", "find a page, a task, an action"], ["/", "search"], ["t", "times as ages, local or UTC"], ["?", "these keys"],
    ["g o", "Overview"], ["g t", "Tasks"], ["g d", "Dead letters"], ["g b", "Bulk actions"], ["g q", "Queues"], ["g w", "Workers"],
    ["g s", "Schedules"], ["g e", "Endpoints"], ["g p", "Playground"], ["g l", "Live tail"], ["g c", "Settings"]]],
  ["In lists", [["j, k", "down, up"], ["x", "select"], ["Enter", "open"], ["a", "select all that are loaded"], ["Esc", "select none"], ["r", "replay what is selected"], [".", "actions"]]],
  ["In a task", [["r", "replay"], ["e", "replay with edits"], [".", "actions"]]],
];

export const openHelp = () => show(({ close }) => html`<div>
  <${DialogHead} title="Keyboard" close=${close} />
  <div class="dialog-body keys">${KEYS.map(([place, rows]) => html`<section><h3>${place}</h3><dl>${rows.map(([key, what]) => html`<div><dt>
    <kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl></section>`)}</div>
</div>`);
