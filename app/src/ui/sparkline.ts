/** A small curve of the last values. */
import { svg, html, type TemplateResult } from 'lit';

const WIDTH = 120;
const HEIGHT = 32;

/** Points of the curve through `values`, oldest first, in a box of 120 x 32; the lowest shown is 0. Gaps are left out. */
export function curve(values: readonly (number | null)[]): string {
  const known = values.filter((value) => value !== null);
  const most = Math.max(...known, 1e-9);
  const step = WIDTH / Math.max(1, values.length - 1);
  return values
    .map((value, index) =>
      value === null ? '' : `${(index * step).toFixed(1)},${(HEIGHT - 1 - (value / most) * (HEIGHT - 2)).toFixed(1)}`,
    )
    .filter(Boolean)
    .join(' ');
}

export function sparkline(values: readonly (number | null)[]): TemplateResult {
  return html`<svg class="spark" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">
    ${svg`<polyline points=${curve(values)} fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" vector-effect="non-scaling-stroke"/>`}
  </svg>`;
}
