/** One axis of a resize: which source pixels make each target pixel, and by what weights; Pillow's numbers exactly. */
import type { Preprocessing } from '../bundle/manifest.ts';

export interface Axis {
  /** The first source pixel that is needed, and how many from there. */
  from: number;
  length: number;
  /** Source pixels of each target pixel. */
  taps: number;
  /** (targets,): the first of them, counted from `from`; first + taps <= length. */
  starts: Int32Array;
  /** (targets, taps): weights times 2^22, rounded. */
  weights: Int32Array;
}

/** Bits after the point of a weight: 32 less 8 of a pixel and 2 for what overshoots. */
export const PRECISION_BITS = 22;

interface Filter {
  support: number;
  weight(distance: number): number;
}

const FILTERS: Record<'bilinear' | 'bicubic', Filter> = {
  bilinear: { support: 1, weight: (x) => (Math.abs(x) < 1 ? 1 - Math.abs(x) : 0) },
  // Keys's cubic with a = -0.5, in the order in which Pillow multiplies.
  bicubic: {
    support: 2,
    weight(distance) {
      const x = Math.abs(distance);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
    },
  },
};

/** The taps of one target pixel. */
interface Taps {
  start: number;
  weights: number[];
}

/**
 * The axis that takes `size` pixels to `resized`, of which only `count` from `first` on are wanted.
 *
 * Filters are widened when shrinking (antialiasing) as Pillow does, and cut at the edges.
 */
export function axis(
  size: number,
  resized: number,
  first: number,
  count: number,
  interpolation: Preprocessing['interpolation'],
): Axis {
  const all =
    interpolation === 'nearest'
      ? nearest(size, resized, first, count)
      : filtered(size, resized, first, count, FILTERS[interpolation]);
  const taps = Math.max(...all.map(({ weights }) => weights.length));
  const from = Math.min(...all.map(({ start }) => start));
  const length = Math.max(...all.map(({ start, weights }) => start + weights.length)) - from;
  const found: Axis = { from, length, taps, starts: new Int32Array(count), weights: new Int32Array(count * taps) };
  for (const [target, { start, weights }] of all.entries()) {
    // Near the end a pixel with fewer taps begins earlier, so that none reaches beyond what is needed.
    const begin = Math.min(start - from, length - taps);
    found.starts[target] = begin;
    found.weights.set(weights, target * taps + (start - from - begin));
  }
  return found;
}

/** precompute_coeffs and normalize_coeffs_8bpc of Pillow's Resample.c. */
function filtered(size: number, resized: number, first: number, count: number, filter: Filter): Taps[] {
  const scale = size / resized;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  return Array.from({ length: count }, (_, target) => {
    const centre = (first + target + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(size, Math.trunc(centre + support + 0.5));
    const weights = Array.from({ length: end - start }, (__, tap) =>
      filter.weight((tap + start - centre + 0.5) * (1 / stretch)),
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { start, weights: weights.map((weight) => fixedPoint(total === 0 ? weight : weight / total)) };
  });
}

/** Half away from zero, as C's cast of x + 0.5 and x - 0.5 does. */
function fixedPoint(weight: number): number {
  return Math.trunc(weight * 2 ** PRECISION_BITS + (weight < 0 ? -0.5 : 0.5));
}

/** ImagingScaleAffine of Pillow's Geometry.c: positions are summed up, and one that rounding puts outside is black. */
function nearest(size: number, resized: number, first: number, count: number): Taps[] {
  const scale = size / resized;
  const found: Taps[] = [];
  let position = scale * 0.5;
  for (let target = 0; target < first + count; target += 1) {
    const inside = position < size;
    if (target >= first) {
      const start = inside ? Math.trunc(position) : size - 1;
      found.push({ start, weights: [inside ? 2 ** PRECISION_BITS : 0] });
    }
    position += scale;
  }
  return found;
}
