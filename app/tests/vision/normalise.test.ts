import { expect, test } from 'vitest';
import type { Preprocessing } from '../../src/bundle/manifest.ts';
import { halfValue, normalise, normaliseTable } from '../../src/vision/normalise.ts';

const SPEC: Preprocessing = {
  resize: null,
  crop: [1, 2],
  interpolation: 'bilinear',
  mean: [127, 123.675, 0],
  std: [128, 58.395, 255],
};

test('channels come one after the other, rows may be longer than the picture', () => {
  const table = normaliseTable({ ...SPEC, mean: [0, 10, 20], std: [1, 2, 4] }, 'float32');
  const target = new Float32Array(3 * 2 * 1);
  const pixels = Uint8Array.of(1, 12, 24, 9, 9, 9, 9, 9, 2, 14, 28, 9, 9, 9, 9, 9);
  normalise({ pixels, stride: 2 }, 1, 2, table, target);
  expect([...target]).toEqual([1, 2, 1, 2, 1, 2]);
});

test('numbers are those of float32 arithmetic', () => {
  const table = normaliseTable(SPEC, 'float32');
  const mean = Math.fround(123.675);
  expect(table[256 + 7]).toBe(Math.fround(Math.fround(7 - mean) / Math.fround(58.395)));
  expect(table[0]).toBe(-127 / 128);
  expect(table[512 + 255]).toBe(1);
});

test('halves are the nearest ones, ties to even', () => {
  const halves = normaliseTable({ ...SPEC, mean: [0, 0, 0], std: [1, 3, 2 ** 27] }, 'float16');
  expect(halves.constructor).toBe(Uint16Array);
  expect([halves[0], halves[1], halves[2], halves[255]]).toEqual([0, 0x3c00, 0x4000, 0x5bf8]);
  // 1/3 is 0x3555 as NumPy has it. 4 / 2^27 is half the smallest subnormal and 12 / 2^27 one and a half: ties.
  expect(halves[256 + 1]).toBe(0x3555);
  expect([halves[512 + 4], halves[512 + 12], halves[512 + 255]]).toEqual([0, 2, 32]);
  const large = normaliseTable({ ...SPEC, mean: [0, 0, 0], std: [2 ** -9, 1, 1] }, 'float16');
  expect(large[255]).toBe(0x7c00);
});

test('what a half stands for', () => {
  expect([0x3c00, 0xc000, 1, 0x7bff, 0x7c00, 0x3555].map(halfValue)).toEqual([
    1,
    -2,
    2 ** -24,
    65504,
    Infinity,
    0.333251953125,
  ]);
  expect(halfValue(0x7e00)).toBeNaN();
});
