import { describe, expect, test } from 'vitest';
import type { Look } from '../../src/engine/protocol.ts';
import type { Match } from '../../src/recognition/gallery.ts';
import { Reader, sameAnswer } from '../../src/ui/reading.ts';

const spec = {
  name: 'tiny',
  task: 'classification',
  input_shape: [3, 8, 8] as [number, number, number],
  preprocessing: {
    resize: 8,
    crop: [8, 8] as [number, number],
    interpolation: 'bilinear' as const,
    mean: [0, 0, 0] as [number, number, number],
    std: [1, 1, 1] as [number, number, number],
  },
  class_ids: ['a', 'b', 'c'],
  labels: ['ant', 'bee', 'cat'],
};
const opened = { spec, confidence: { temperature: 1, unknown_below: 2 } };
const stages = { grab: 0, preprocess: 0, inference: 0, postprocess: 0 };

const seen = (...logits: number[]): Look => ({
  answers: [],
  unknown: false,
  logits: Float32Array.from(logits),
  embedding: null,
  matches: null,
  stages,
});

const matched = (...matches: Partial<Match>[]): Look => ({
  ...seen(),
  matches: matches.map((match, entry) => ({
    entry,
    id: `e${entry}`,
    label: `thing ${entry}`,
    cosine: 0.9,
    accepted: entry === 0,
    ...match,
  })),
});

describe('a classifier', () => {
  test('says the best first, others after it', () => {
    const reading = new Reader(opened).read(seen(1, 6, 3), 0);
    expect(reading.kind === 'known' && reading.candidates.map(({ label }) => label)).toEqual(['bee', 'cat', 'ant']);
  });

  test('says unknown with the nearest guesses when nothing fits', () => {
    const reading = new Reader(opened).read(seen(1, 1.5, 0), 0);
    expect(reading.kind === 'unknown' && reading.nearest[0]!.label).toBe('bee');
  });

  test('one frame at odds with the rest changes nothing, two do', () => {
    const reader = new Reader(opened);
    for (let at = 0; at < 300; at += 33) reader.read(seen(9, 0, 0), at);
    const once = reader.read(seen(0, 0, 9), 333);
    expect(once.kind === 'known' && once.candidates[0]!.label).toBe('ant');
    reader.read(seen(0, 0, 9), 366);
    const later = reader.read(seen(0, 0, 9), 399);
    expect(later.kind === 'known' && later.candidates[0]!.label).toBe('cat');
  });

  test('after a reset, the past has no say', () => {
    const reader = new Reader(opened);
    for (let at = 0; at < 300; at += 33) reader.read(seen(9, 0, 0), at);
    reader.reset();
    const reading = reader.read(seen(0, 0, 9), 333);
    expect(reading.kind === 'known' && reading.candidates[0]!.label).toBe('cat');
  });
});

describe('a gallery', () => {
  test('says what it accepts, and a score within 0 to 1', () => {
    const reading = new Reader(opened).read(matched({ cosine: 1.0001 }, { cosine: -0.2 }), 0);
    expect(reading.kind === 'known' && reading.candidates.map(({ score }) => score)).toEqual([1, 0]);
  });

  test('says unknown when the best is not accepted, or there is none', () => {
    expect(new Reader(opened).read(matched({ accepted: false }), 0)).toMatchObject({ kind: 'unknown' });
    expect(new Reader(opened).read(matched(), 0)).toEqual({ kind: 'unknown', nearest: [] });
  });
});

test('the same answer is the same whatever the confidence', () => {
  const known = (key: string, score: number) => ({ kind: 'known' as const, candidates: [{ key, label: key, score }] });
  expect(sameAnswer(known('a', 0.4), known('a', 0.9))).toBe(true);
  expect(sameAnswer(known('a', 0.4), known('b', 0.4))).toBe(false);
  expect(sameAnswer(known('a', 0.4), { kind: 'waiting' })).toBe(false);
});
