import { expect, test } from 'vitest';
import { quantizeQuery, quantizeVector } from '../../src/recognition/vector.ts';
import { roundHalfEven } from '../../src/rounding.ts';

test('vectors of any length become ones of length 127', () => {
  expect([...quantizeVector(Float32Array.of(3, -4, 0))]).toEqual([76, -102, 0]);
  expect([...quantizeVector(Float32Array.of(0, 1e-20, 0))]).toEqual([0, 127, 0]);
  expect([...quantizeQuery(Float32Array.of(0.6, -0.8))]).toEqual([19660, -26214]);
});

test('what points nowhere gives zeros', () => {
  for (const vector of [
    [0, 0],
    [NaN, 1],
    [Infinity, 1],
  ]) {
    expect([...quantizeVector(Float32Array.from(vector))]).toEqual([0, 0]);
  }
});

test('a half is rounded to even', () => {
  expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 2.6].map(roundHalfEven)).toEqual([0, 2, 2, 0, -2, 2, 3]);
});
