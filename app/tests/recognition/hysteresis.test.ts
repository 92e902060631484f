import { expect, test } from 'vitest';
import { settle, type Shown } from '../../src/recognition/hysteresis.ts';

const SETTINGS = { lead: 0.2, patienceMs: 100 };
type Frame = [at: number, ...scores: [string, number][]];

function shown(frames: Frame[]): (string | null)[] {
  let state: Shown<string> | null = null;
  return frames.map(([at, ...scores]) => {
    state = settle(
      state,
      scores.map(([key, score]) => ({ key, score })),
      at,
      SETTINGS,
    );
    return state.key;
  });
}

test('the first is shown at once, and so is one with a clear lead', () => {
  expect(
    shown([
      [0, ['a', 0.5]],
      [1, ['b', 0.8], ['a', 0.1]],
    ]),
  ).toEqual(['a', 'b']);
});

test('a small lead must last', () => {
  const close: [string, number][] = [
    ['b', 0.5],
    ['a', 0.45],
  ];
  expect(
    shown([
      [0, ['a', 0.5]],
      [10, ...close],
      [60, ...close],
      [111, ...close],
    ]),
  ).toEqual(['a', 'a', 'a', 'b']);
});

test('two that are nearly equal do not flicker', () => {
  const frames = Array.from({ length: 50 }, (_, index): Frame => {
    const [first, second] = index % 2 ? (['a', 'b'] as const) : (['b', 'a'] as const);
    return [index * 30, [first, 0.5], [second, 0.48]];
  });
  expect(new Set(shown(frames)).size).toBe(1);
});

test('a rival that changes starts to wait again', () => {
  expect(
    shown([
      [0, ['a', 0.5]],
      [50, ['b', 0.5], ['a', 0.4]],
      [120, ['c', 0.5], ['a', 0.4]],
    ]),
  ).toEqual(['a', 'a', 'a']);
});

test('unknown comes and goes by patience', () => {
  expect(shown([[0, ['a', 0.9]], [50], [149], [150]])).toEqual(['a', 'a', 'a', null]);
  expect(shown([[0], [50, ['a', 0.9]], [150, ['a', 0.9]]])).toEqual([null, null, 'a']);
});

test('one that is no longer among the candidates gives way by patience', () => {
  expect(
    shown([
      [0, ['a', 0.9]],
      [50, ['b', 0.9]],
      [150, ['b', 0.9]],
    ]),
  ).toEqual(['a', 'a', 'b']);
});
