import { expect, test } from 'vitest';
import { Whitening } from '../../src/recognition/whitening.ts';

const SHAPE = { features: 3, dimensions: 2, whitening: 'embedding/whitening.bin' };

function content(mean: number[], scale: number[], codes: number[]): Uint8Array<ArrayBuffer> {
  const floats = new Uint8Array(Float32Array.from([...mean, ...scale]).buffer);
  return Uint8Array.of(...floats, ...new Uint8Array(Int8Array.from(codes).buffer));
}

test('a case worked by hand', () => {
  const whitening = new Whitening(content([1, 1, 1], [0.5, 2], [2, 0, 0, 0, -1, 0]), SHAPE);
  // Centred (3, -2, 5): 3 * 2 * 0.5 = 3 and 2 * 1 * 2 = 4, of length 5.
  const vector = whitening.apply(Float32Array.of(4, -1, 6));
  expect([...vector]).toEqual([Math.fround(0.6), Math.fround(0.8)]);
});

test('the mean points nowhere, and neither does what is no number', () => {
  const whitening = new Whitening(content([1, 1, 1], [0.5, 2], [2, 0, 0, 0, -1, 0]), SHAPE);
  expect([...whitening.apply(Float32Array.of(1, 1, 1))]).toEqual([0, 0]);
  expect([...whitening.apply(Float32Array.of(NaN, 1, 1))]).toEqual([0, 0]);
});

test.each([
  ['too short', content([1, 1, 1], [1, 1], [1, 1, 1, 1, 1])],
  ['a mean that is no number', content([1, NaN, 1], [1, 1], [1, 1, 1, 1, 1, 1])],
  ['an infinite scale', content([1, 1, 1], [1, Infinity], [1, 1, 1, 1, 1, 1])],
  ['a scale of 0', content([1, 1, 1], [1, 0], [1, 1, 1, 1, 1, 1])],
])('%s is refused', (_, bytes) => {
  expect(() => new Whitening(bytes, SHAPE)).toThrow(expect.objectContaining({ code: 'corrupt' }));
});
