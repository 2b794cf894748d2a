// A button that opens a list of actions. Arrow keys move, Escape closes, and the key "." opens the page's first one.
import { html, useEffect, useRef, useState } from "../html.js";
import { whyNot } from "../api.js";
import { useKeys } from "../keys.js";
import { Icon } from "./icons.js";

// *items*: {label, icon, does, isGrave, isOff, hint, needs}; *needs* is the scope without which it is off. *isMain*: it is the one that "." opens.
export function Menu({ label = "Actions", items, isMain = false, small = false }) {
  const [isOpen, setOpen] = useState(false);
  const list = useRef(null), button = useRef(null);
  const shown = items.filter(Boolean).map((one) => (whyNot(one.needs) ? { ...one, isOff: true, hint: whyNot(one.needs) } : one));
  useKeys(isMain ? { ".": () => setOpen(true) } : {});
  useEffect(() => {
    if (!isOpen) return undefined;
    list.current?.querySelector("button:not(:disabled)")?.focus();
    const away = (event) => { if (!list.current?.contains(event.target) && !button.current?.contains(event.target)) setOpen(false); };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, [isOpen]);
  const close = () => { setOpen(false); button.current?.focus(); };
  const pressed = (event) => {
    const all = [...list.current.querySelectorAll("button:not(:disabled)")];
    const at = all.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next !== undefined) { event.preventDefault(); all[(next + all.length) % all.length]?.focus(); }
    if (event.key === "Escape" || event.key === "Tab") { event.preventDefault(); close(); }
    event.stopPropagation();
  };
  return html`<div class="menu">
    <button ref=${button} type="button" class=${small ? "quiet tiny" : ""} aria-haspopup="menu" aria-expanded=${isOpen} aria-label=${small ? label : undefined} onClick=${() => setOpen(!isOpen)}>
      ${small ? html`<${Icon} name="more" />` : html`${label}<${Icon} name="down" size=${12} />`}</button>
    ${isOpen && html`<div class="menu-list" role="menu" ref=${list} onKeyDown=${pressed} aria-label=${label}>
      ${shown.map((one) => html`<button type="button" role="menuitem" disabled=${one.isOff} class=${one.isGrave ? "grave" : ""} title=${one.hint}
        onClick=${() => { close(); one.does(); }}><${Icon} name=${one.icon ?? "right"} size=${14} /><span>${one.label}</span>
          ${one.key && html`<kbd>${one.key}</kbd>`}</button>`)}
    </div>`}
  </div>`;
}
