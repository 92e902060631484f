import { expect, test } from 'vitest';
import { largest } from '../../src/recognition/largest.ts';

test('the best few as a stable sort has them', () => {
  const values = Float64Array.from({ length: 500 }, (_, index) => (index * 7919) % 97);
  const sorted = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
  for (const count of [0, 1, 5, 499, 500, 900]) expect(largest(values, count)).toEqual(sorted.slice(0, count));
});

test('of nothing comes nothing', () => {
  expect(largest([], 3)).toEqual([]);
  expect(largest([-Infinity, -Infinity], 1)).toEqual([0]);
});
