import { describe, expect, test } from 'vitest';
import type { Preprocessing } from '../../src/bundle/manifest.ts';
import { planOf } from '../../src/vision/plan.ts';

const SPEC: Preprocessing = {
  resize: 256,
  crop: [224, 224],
  interpolation: 'bicubic',
  mean: [0, 0, 0],
  std: [1, 1, 1],
};

test('of a frame only what the crop shows is read, from an even pixel to an even one', () => {
  const { source, across, down } = planOf({ width: 1280, height: 720 }, null, SPEC);
  expect(source.width).toBeLessThan(660);
  expect(source.height).toBeLessThan(660);
  for (const value of Object.values(source)) expect(value % 2).toBe(0);
  expect(across.starts).toHaveLength(224);
  expect(Math.max(...across.starts) + across.taps).toBeLessThanOrEqual(source.width);
  expect(Math.max(...down.starts) + down.taps).toBeLessThanOrEqual(source.height);
});

test('a region is read where it lies', () => {
  const { source } = planOf(
    { width: 1280, height: 720 },
    { x: 1001, y: 301, width: 100, height: 100 },
    { ...SPEC, resize: null },
  );
  expect(source).toEqual({ x: 1000, y: 300, width: 102, height: 102 });
});

test('an odd frame is read to its end, not beyond', () => {
  const { source } = planOf({ width: 5, height: 3 }, null, { ...SPEC, resize: null });
  expect(source).toEqual({ x: 0, y: 0, width: 5, height: 3 });
});

test('half a pixel of a crop is rounded to even', () => {
  const spec = { ...SPEC, resize: 8, crop: [8, 5] as [number, number], interpolation: 'nearest' as const };
  // (8 - 5) / 2 = 1.5 goes to 2, (10 - 5) / 2 = 2.5 too.
  expect(planOf({ width: 8, height: 8 }, null, spec).across.starts[0]).toBe(0);
  expect(planOf({ width: 8, height: 8 }, null, spec).source.x).toBe(2);
  expect(planOf({ width: 10, height: 8 }, null, spec).source.x).toBe(2);
});

test('a tall picture is shrunk vertically first, as Pillow 13 does', () => {
  const to = (width: number, height: number) => planOf({ width, height }, null, { ...SPEC, resize: null }).first;
  expect(to(720, 1280)).toBe('down');
  expect(to(1280, 720)).toBe('across');
  expect(to(100, 200)).toBe('across');
  expect(to(300, 224)).toBe('across');
});

describe('nothing to see is refused', () => {
  test.each([
    ['an empty frame', { width: 0, height: 0 }, null],
    ['a region outside', { width: 10, height: 10 }, { x: 10, y: 0, width: 5, height: 5 }],
    ['a region left of it', { width: 10, height: 10 }, { x: -9, y: 0, width: 5, height: 5 }],
    ['an empty region', { width: 10, height: 10 }, { x: 1, y: 1, width: 0, height: 5 }],
    ['no numbers', { width: 10, height: 10 }, { x: NaN, y: 1, width: 3, height: 5 }],
    ['a hair', { width: 100_000, height: 1 }, null],
  ])('%s', (_, frame, region) => {
    const plan = () => planOf(frame, region, { ...SPEC, resize: 8192 });
    expect(plan).toThrow(expect.objectContaining({ code: 'frame' }));
  });
});
