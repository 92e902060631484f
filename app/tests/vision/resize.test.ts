import { beforeAll, describe, expect, test } from 'vitest';
import type { Preprocessing } from '../../src/bundle/manifest.ts';
import { cut } from '../../src/vision/cut.ts';
import { planOf } from '../../src/vision/plan.ts';
import type { Resized, Resizer } from '../../src/vision/resize.ts';
import { noise, resizers } from './sample.ts';

let both: [string, Resizer][];
beforeAll(async () => {
  both = await resizers();
});

function spec(changes: Partial<Preprocessing>): Preprocessing {
  return { resize: null, crop: [4, 4], interpolation: 'bilinear', mean: [0, 0, 0], std: [1, 1, 1], ...changes };
}

function resize(resizer: Resizer, width: number, height: number, preprocessing: Preprocessing): number[][] {
  const plan = planOf({ width, height }, null, preprocessing);
  const pixels = cut(noise(width, height), width, plan.source);
  return colours(resizer.resize(pixels, plan), plan.across.starts.length);
}

/** Red, green and blue of each row; the rest of a row is nobody's. */
function colours({ pixels, stride }: Resized, width: number): number[][] {
  const rows = pixels.length / (stride * 4);
  return Array.from({ length: rows }, (_, row) =>
    [...pixels.subarray(row * stride * 4, (row * stride + width) * 4)].filter((__, index) => index % 4 !== 3),
  );
}

test('a case worked by hand: 4 x 1 to 2 x 1', () => {
  const plan = planOf({ width: 4, height: 1 }, null, spec({ crop: [1, 2] }));
  const pixels = Uint8ClampedArray.from([10, 20, 30, 255].flatMap((grey) => [grey, grey, grey, 255]));
  for (const [, resizer] of both) {
    // (3 * 10 + 3 * 20 + 30) / 7 = 17.1, (20 + 3 * 30 + 3 * 255) / 7 = 125
    expect(colours(resizer.resize(pixels, plan), 2)).toEqual([[17, 17, 17, 125, 125, 125]]);
  }
});

test('the same size leaves every pixel', () => {
  const expected = [...noise(4, 4)].filter((_, index) => index % 4 !== 3);
  for (const interpolation of ['nearest', 'bilinear', 'bicubic'] as const) {
    for (const [, resizer] of both) {
      expect(resize(resizer, 4, 4, spec({ interpolation })).flat()).toEqual(expected);
    }
  }
});

describe('SIMD and plain give the same pixels', () => {
  test.each([
    [1, 1, [5, 3]],
    [3, 2, [1, 1]],
    [37, 53, [13, 11]],
    [53, 37, [11, 13]],
    [20, 300, [24, 24]],
    [300, 20, [24, 24]],
    [9, 9, [31, 30]],
    [640, 480, [224, 224]],
  ])('%i x %i to %j', (width, height, crop) => {
    for (const interpolation of ['nearest', 'bilinear', 'bicubic'] as const) {
      const [plain, simd] = both.map(([, resizer]) =>
        resize(resizer, width, height, spec({ crop: crop as [number, number], interpolation })),
      );
      expect(simd).toEqual(plain);
    }
  });

  test('also where the source comes in bands', () => {
    // 1,500 x 1,500 pixels are 9 MB, a band holds 8.
    const [plain, simd] = both.map(([, resizer]) => resize(resizer, 1500, 1500, spec({ crop: [16, 16] })));
    expect(simd).toEqual(plain);
  });

  test('also when plans take turns', () => {
    const [, simd] = both[1]!;
    const small = resize(simd, 10, 10, spec({}));
    resize(simd, 400, 300, spec({ crop: [64, 64] }));
    expect(resize(simd, 10, 10, spec({}))).toEqual(small);
  });
});
