import { describe, expect, test } from 'vitest';
import type { Spec } from '../../src/bundle/manifest.ts';
import { answers, isUnknown, labelOf } from '../../src/recognition/answers.ts';

const SPEC: Spec = {
  name: 'pets',
  task: 'classification',
  input_shape: [3, 8, 8],
  preprocessing: { resize: 8, crop: [8, 8], interpolation: 'bilinear', mean: [0, 0, 0], std: [1, 1, 1] },
  class_ids: ['n1', 'n2', 'n3'],
  labels: ['cat', 'dog', 'owl'],
};
const PLAIN = { temperature: 1, unknown_below: null };

test('a case worked by hand', () => {
  const found = answers([0, Math.log(3), -Infinity], SPEC, PLAIN, 2);
  expect(found).toEqual([
    { index: 1, label: 'dog', classId: 'n2', confidence: expect.closeTo(0.75, 12) },
    { index: 0, label: 'cat', classId: 'n1', confidence: expect.closeTo(0.25, 12) },
  ]);
});

test('a temperature softens', () => {
  const [best] = answers([0, 2 * Math.log(3), -Infinity], SPEC, { ...PLAIN, temperature: 2 }, 1);
  expect(best!.confidence).toBeCloseTo(0.75, 12);
});

test('all confidences sum to one, and no more than all come back', () => {
  const found = answers([3, 1, 2], SPEC, PLAIN, 99);
  expect(found.map(({ index }) => index)).toEqual([0, 2, 1]);
  expect(found.reduce((sum, { confidence }) => sum + confidence, 0)).toBeCloseTo(1, 12);
});

test('equal logits come in the order of their classes', () => {
  expect(answers([5, 5, 5], SPEC, PLAIN, 2).map(({ index }) => index)).toEqual([0, 1]);
});

describe('what is no number', () => {
  test('has no confidence and comes last', () => {
    const found = answers([NaN, 1, 1], SPEC, PLAIN, 3);
    expect(found.map(({ index, confidence }) => [index, confidence])).toEqual([
      [1, 0.5],
      [2, 0.5],
      [0, 0],
    ]);
  });

  test('alone gives no confidence at all', () => {
    expect(answers([NaN, -Infinity, NaN], SPEC, PLAIN, 1)[0]!.confidence).toBe(0);
    expect(isUnknown([NaN, -Infinity, NaN], PLAIN)).toBe(true);
  });

  test('an infinity is the largest number', () => {
    expect(answers([0, Infinity, 1], SPEC, PLAIN, 1)[0]).toMatchObject({ index: 1, confidence: 1 });
    expect(isUnknown([Infinity], { temperature: 1, unknown_below: 1e9 })).toBe(false);
  });
});

test('unknown is a largest logit below the bound, undivided by the temperature', () => {
  const confidence = { temperature: 4, unknown_below: 7 };
  expect(isUnknown([1, 6.9], confidence)).toBe(true);
  expect(isUnknown([1, 7], confidence)).toBe(false);
  expect(isUnknown([-50], PLAIN)).toBe(false);
});

test('a class without a label has its id, or its number', () => {
  expect(labelOf({ ...SPEC, labels: [] }, 1)).toBe('n2');
  expect(labelOf({ ...SPEC, labels: [], class_ids: [] }, 1)).toBe('class 1');
});
