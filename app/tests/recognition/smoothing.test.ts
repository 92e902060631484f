import { expect, test } from 'vitest';
import { smooth, SMOOTHING, type Smoothed } from '../../src/recognition/smoothing.ts';

const SETTINGS = { ...SMOOTHING, timeConstantMs: 100, temperature: 1 };

function run(frames: [logits: number[], at: number][], settings = SETTINGS): Smoothed | null {
  return frames.reduce<Smoothed | null>((state, [logits, at]) => smooth(state, logits, at, settings), null);
}

test('the first frame is the average', () => {
  expect([...run([[[1, 2], 5]])!.logits]).toEqual([1, 2]);
});

test('after the time constant a step is 63% done', () => {
  const state = run([
    [[0, 0], 0],
    [[1, 0], 99],
  ]);
  expect(state!.logits[0]).toBeCloseTo(1 - Math.exp(-0.99), 12);
});

test('the frame rate does not matter', () => {
  const step = (count: number) => {
    const later = Array.from({ length: count }, (_, index): [number[], number] => [[1, 0], ((index + 1) * 90) / count]);
    return run([[[0, 0], 0], ...later])!.logits[0]!;
  };
  expect(step(1)).toBeCloseTo(step(30), 12);
});

test('one frame at odds is passed over, a second makes a cut', () => {
  const steady: [number[], number][] = [
    [[9, 0], 0],
    [[9, 0], 30],
  ];
  const blurred = run([...steady, [[0, 9], 60]])!;
  expect([...blurred.logits]).toEqual([9, 0]);
  expect([...run([...steady, [[0, 9], 60], [[9, 0], 90]])!.logits]).toEqual([9, 0]);
  const cut = run([...steady, [[0, 9], 60], [[0, 8], 90]])!;
  expect([...cut.logits]).toEqual([0, 8]);
  expect(cut.odd).toBe(false);
});

test('after a long pause one frame at odds is believed', () => {
  expect([
    ...run([
      [[9, 0], 0],
      [[0, 9], 500],
    ])!.logits,
  ]).toEqual([0, 9]);
});

test('what is no number is passed over', () => {
  expect(run([[[NaN, 1], 0]])).toBeNull();
  expect([
    ...run([
      [[1, 2], 0],
      [[1, Infinity], 50],
    ])!.logits,
  ]).toEqual([1, 2]);
});

test('another number of classes begins anew', () => {
  expect([
    ...run([
      [[1, 2], 0],
      [[1, 2, 3], 10],
    ])!.logits,
  ]).toEqual([1, 2, 3]);
});

test('time that runs backwards counts as none', () => {
  const state = run([
    [[0, 0], 100],
    [[1, 0], 50],
  ])!;
  expect([...state.logits]).toEqual([0, 0]);
  expect(state.at).toBe(100);
});
