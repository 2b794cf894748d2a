// The keyboard. Pages bind keys while they are shown; the last binding of a key wins. A sequence is two keys: "g t".
import { useEffect, useRef } from "./html.js";

const bound = []; // {keys: {key: act}}
let first = "", firstAt = 0;
const SEQUENCE_MS = 1200;

const isTyping = (element) => element?.closest?.("input, textarea, select, [contenteditable]") !== null;
const nameOf = (event) => {
  const isCommand = event.metaKey || event.ctrlKey;
  return `${isCommand ? "mod+" : ""}${event.key.length === 1 ? event.key.toLowerCase() : event.key}`;
};

addEventListener("keydown", (event) => {
  if (event.altKey || event.isComposing) return;
  const name = nameOf(event);
  const isHeld = document.querySelector("dialog[open]") !== null;
  if ((isTyping(event.target) || isHeld) && !name.startsWith("mod+")) return;
  const sequence = first && Date.now() - firstAt < SEQUENCE_MS ? `${first} ${name}` : name;
  const find = (wanted) => bound.findLast((one) => wanted in one.keys)?.keys[wanted];
  const act = find(sequence) ?? find(name);
  if (act) {
    first = "";
    // A button keeps its own Enter and space.
    if ((name === "Enter" || name === " ") && event.target.closest?.("a, button, summary")) return;
    event.preventDefault();
    act(event);
    return;
  }
  first = name;
  firstAt = Date.now();
});

// Binds *keys* while the component is shown.
export function useKeys(keys) {
  const held = useRef({});
  held.current = keys;
  useEffect(() => {
    const names = Object.keys(keys);
    const one = { keys: Object.fromEntries(names.map((name) => [name, (event) => held.current[name]?.(event)])) };
    bound.push(one);
    return () => { bound.splice(bound.indexOf(one), 1); };
  }, [Object.keys(keys).join()]);
}
