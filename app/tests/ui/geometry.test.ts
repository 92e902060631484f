import { describe, expect, test } from 'vitest';
import { regionUnder, viewfinder } from '../../src/ui/geometry.ts';

describe('the region under the viewfinder', () => {
  test('by hand: a wide frame covers a tall stage, its sides lie outside', () => {
    // Scale 800 / 400 = 2; the frame is 1600 wide on the stage, 600 of it to the left.
    const stage = { width: 400, height: 800 };
    const region = regionUnder({ x: 100, y: 100, side: 200 }, stage, { width: 800, height: 400 }, 'cover');
    expect(region).toEqual({ x: 350, y: 50, width: 100, height: 100 });
  });

  test('by hand: a photo is shown whole, with empty stage above and below', () => {
    // Scale 0.5; the photo is 400 x 200 on the stage, from y = 300.
    const stage = { width: 400, height: 800 };
    const region = regionUnder({ x: 0, y: 200, side: 400 }, stage, { width: 800, height: 400 }, 'contain');
    expect(region).toEqual({ x: 0, y: 0, width: 800, height: 400 });
  });

  test('never empty, never outside, wherever the square is', () => {
    const stage = { width: 390, height: 844 };
    for (const frame of [
      { width: 1, height: 1 },
      { width: 1280, height: 720 },
      { width: 3, height: 2000 },
    ]) {
      for (const square of [
        { x: -500, y: -500, side: 10 },
        { x: 900, y: 2000, side: 10 },
        { x: 0, y: 0, side: 0 },
      ]) {
        for (const fit of ['cover', 'contain'] as const) {
          const { x, y, width, height } = regionUnder(square, stage, frame, fit);
          expect(Math.min(x, y)).toBeGreaterThanOrEqual(0);
          expect(Math.min(width, height)).toBeGreaterThanOrEqual(1);
          expect(x + width).toBeLessThanOrEqual(frame.width);
          expect(y + height).toBeLessThanOrEqual(frame.height);
        }
      }
    }
  });
});

describe('the viewfinder', () => {
  const free = { x: 20, y: 70, width: 350, height: 450 };

  test('rests in the middle of what is free', () => {
    expect(viewfinder(free, null)).toEqual({ x: 55, y: 155, side: 280 });
  });

  test('goes around the point that was tapped, smaller, and stays within', () => {
    expect(viewfinder(free, { x: 200, y: 300 })).toEqual({ x: 113, y: 213, side: 175 });
    expect(viewfinder(free, { x: 0, y: 0 })).toMatchObject({ x: 20, y: 70 });
    expect(viewfinder(free, { x: 390, y: 844 })).toMatchObject({ x: 195, y: 345 });
  });
});
