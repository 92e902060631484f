import { expect, test } from 'vitest';
import { axis } from '../../src/vision/axis.ts';

const ONE = 2 ** 22;

test('halving by bilinear: a triangle over four pixels, cut at the edges', () => {
  const found = axis(4, 2, 0, 2, 'bilinear');
  // Centres 1 and 3, support 2: distances 0.5, 0.5, 1.5 of the stretched triangle give 3, 3, 1 of 7.
  expect([...found.starts]).toEqual([0, 1]);
  expect([...found.weights]).toEqual([3, 3, 1, 1, 3, 3].map((part) => Math.round((part / 7) * ONE)));
});

test.each(['bilinear', 'bicubic', 'nearest'] as const)('the same size is the identity by %s', (interpolation) => {
  const { taps, starts, weights } = axis(5, 5, 0, 5, interpolation);
  for (let target = 0; target < 5; target += 1) {
    const row = [...weights.subarray(target * taps, (target + 1) * taps)];
    expect(row[target - starts[target]!]).toBe(ONE);
    expect(row.filter((weight) => weight !== 0)).toHaveLength(1);
  }
});

test('a part is that part of the whole', () => {
  const whole = axis(100, 30, 0, 30, 'bicubic');
  const part = axis(100, 30, 10, 7, 'bicubic');
  for (let target = 0; target < 7; target += 1) {
    for (let pixel = 0; pixel < 100; pixel += 1) {
      expect(weightOf(part, target, pixel)).toBe(weightOf(whole, 10 + target, pixel));
    }
  }
  expect(part.length).toBeLessThan(whole.length);
});

test('no tap reaches beyond what is needed, however small the picture', () => {
  for (const size of [1, 2, 3, 7, 50]) {
    for (const resized of [1, 2, 5, 64]) {
      const { starts, taps, length, from } = axis(size, resized, 0, resized, 'bicubic');
      expect(Math.min(...starts)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...starts) + taps).toBeLessThanOrEqual(length);
      expect(from + length).toBeLessThanOrEqual(size);
    }
  }
});

function weightOf({ from, taps, starts, weights }: ReturnType<typeof axis>, target: number, pixel: number): number {
  const tap = pixel - from - starts[target]!;
  return tap >= 0 && tap < taps ? weights[target * taps + tap]! : 0;
}
