// A line of few points, small enough for a row of a table.
import { html } from "../html.js";

const WIDTH = 96, HEIGHT = 24;

export function Spark({ points, label }) {
  const most = Math.max(...points, 1);
  const shown = points.length === 1 ? [points[0], points[0]] : points;
  const at = shown.map((value, n) => `${((n / Math.max(1, shown.length - 1)) * WIDTH).toFixed(1)},${(HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)}`);
  return html`<svg class="spark" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${label}: now ${points.at(-1) ?? 0}, at most ${points.length ? most : 0}`}>
    ${at.length > 0 && html`<polygon points=${`0,${HEIGHT} ${at.join(" ")} ${WIDTH},${HEIGHT}`} fill="currentColor" opacity="0.12" />
      <polyline points=${at.join(" ")} fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" />`}</svg>`;
}
