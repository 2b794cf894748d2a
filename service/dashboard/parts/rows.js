// A table of any length: only the rows that are seen are in the page. Real <table>, so that it reads and copies as one.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../html.js";

const ROW_PX = 36, MARGIN_ROWS = 6;

/*
 * *columns*: {name, title, width, show(row), right}. *atRow* is where the keyboard is; onEnd is called when the last rows
 * come near, onScrolled with whether the top is out of sight.
 */
export function Rows({ rows, columns, keyOf, rowClass, atRow, onEnd, onScrolled, onRow, label, total }) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const frame = useRef(0);
  const look = () => {
    frame.current = 0;
    if (box.current) setView({ top: box.current.scrollTop, height: box.current.clientHeight });
  };
  const scrolled = () => { frame.current ||= requestAnimationFrame(look); };
  useLayoutEffect(() => {
    look();
    const watch = new ResizeObserver(look);
    watch.observe(box.current);
    return () => { watch.disconnect(); cancelAnimationFrame(frame.current); };
  }, []);
  const from = Math.max(0, Math.floor(view.top / ROW_PX) - MARGIN_ROWS);
  const until = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW_PX) + MARGIN_ROWS);
  const isTopAway = view.top > ROW_PX / 2;
  useEffect(() => { if (until >= rows.length - 20) onEnd?.(); }, [until, rows.length]);
  useEffect(() => { onScrolled?.(isTopAway); }, [isTopAway]);
  useEffect(() => { keepInSight(box.current, atRow); }, [atRow]);
  return html`<div class="table virtual" ref=${box} style=${{ "--rows": `${(rows.length + 1) * ROW_PX + 2}px` }} onScroll=${scrolled} tabindex="0" role="region" aria-label=${label}>
    <table aria-rowcount=${total ?? rows.length}>
      <colgroup>${columns.map((one) => html`<col style=${{ width: one.width }} />`)}</colgroup>
      <thead><tr>${columns.map((one) => html`<th key=${one.name} scope="col" class=${one.right ? "right" : ""}>
        ${one.title}</th>`)}</tr></thead>
      <tbody>
        ${from > 0 && html`<tr class="spacer" key="above" aria-hidden="true">
          <td colspan=${columns.length} style=${{ height: `${from * ROW_PX}px` }}></td></tr>`}
        ${rows.slice(from, until).map((row, n) => html`<tr key=${keyOf(row)} aria-rowindex=${from + n + 1} class=${`${rowClass(row)} ${from + n === atRow ? "is-at" : ""}`} onClick=${(event) => onRow?.(row, from + n, event)}>
          <${Cells} row=${row} columns=${columns} /></tr>`)}
        ${until < rows.length && html`<tr class="spacer" key="below" aria-hidden="true">
          <td colspan=${columns.length} style=${{ height: `${(rows.length - until) * ROW_PX}px` }}></td></tr>`}
      </tbody>
    </table></div>`;
}

// A row that has not changed is the same cells, which Preact then passes over: scrolling draws only what comes into sight.
function Cells({ row, columns }) {
  return useMemo(() => columns.map((one) => html`<td key=${one.name} class=${`of-${one.name} ${one.right ? "right" : ""}`}>
    ${one.show(row)}</td>`), [row, columns]);
}

function keepInSight(box, row) {
  if (row === null || row === undefined || row < 0) return;
  const top = row * ROW_PX, space = box.clientHeight - 2 * ROW_PX;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top > box.scrollTop + space) box.scrollTop = top - space;
}

// A short table: *columns* as above.
export const Table = ({ rows, columns, keyOf = (row) => row.name, label }) => html`<div class="table" tabindex="0" role="region" aria-label=${`${label}, table`}><table>
  <thead><tr>${columns.map((one) => html`<th scope="col" class=${one.class ?? ""}>${one.title}</th>`)}</tr></thead>
  <tbody>${rows.map((row) => html`<tr key=${keyOf(row)}>${columns.map((one) => html`<td class=${one.class ?? ""}>
    ${one.show(row)}</td>`)}</tr>`)}</tbody>
</table></div>`;
