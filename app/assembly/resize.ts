/**
 * The two passes of Pillow's 8-bit resampling, in SIMD.
 *
 * A weight has 22 bits after the point, more than a 16-bit product takes, so it comes as two halves:
 * weight = high * 2^11 + low, with high signed and low in 0..2047. Two taps at a time go through `dot` (16-bit
 * products, added in pairs into 32 bits), once for each half, and high * 2^11 + low of the sums is exactly Pillow's
 * sum. Weights lie as pairs: of taps 2i and 2i+1 the highs as two i16, then the lows.
 *
 * Pixels are RGBA, 4 bytes. Callers leave room: rows are worked on in fours, columns of the second pass in fours.
 */
export { reserve } from './memory';

const HALF_BITS: i32 = 11;
const PRECISION_BITS: i32 = 22;
/** Bytes of a pair of weights. */
const PAIR: usize = 8;

/** Sums of two halves, as 8-bit numbers in 32 bits: Pillow's rounding and clipping. */
// @ts-ignore: decorator
@inline
function rounded(high: v128, low: v128): v128 {
  const sum = i32x4.add(i32x4.add(i32x4.shl(high, HALF_BITS), low), i32x4.splat(1 << (PRECISION_BITS - 1)));
  return i32x4.shr_s(sum, PRECISION_BITS);
}

/** Four pixels from four times four numbers. */
// @ts-ignore: decorator
@inline
function packed(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
}

/** Two neighbours as pairs of 16-bit numbers: r0 r1 g0 g1 b0 b1 a0 a1. Bytes 8 and on are zero after the load. */
// @ts-ignore: decorator
@inline
function neighbours(from: usize): v128 {
  const two = v128.load64_zero(from);
  return i8x16.shuffle(two, two, 0, 8, 4, 8, 1, 8, 5, 8, 2, 8, 6, 8, 3, 8, 7, 8);
}

/**
 * The horizontal pass.
 *
 * @param source rows of pixels, `sourceStride` bytes apart.
 * @param rows how many; a multiple of 4.
 * @param starts for each column of the target its first source column, i32.
 * @param weights for each column of the target `pairs` pairs.
 * @param target rows of `columns` pixels, `targetStride` bytes apart.
 */
export function across(
  source: usize,
  sourceStride: usize,
  rows: i32,
  starts: usize,
  weights: usize,
  pairs: i32,
  columns: i32,
  target: usize,
  targetStride: usize,
): void {
  const step = <usize>pairs * PAIR;
  for (let row = 0; row < rows; row += 4) {
    const row0 = source + <usize>row * sourceStride;
    const into = target + <usize>row * targetStride;
    let weight = weights;
    for (let column = 0; column < columns; column++) {
      let from = row0 + ((<usize>load<i32>(starts + ((<usize>column) << 2))) << 2);
      let high0 = i32x4.splat(0);
      let high1 = high0;
      let high2 = high0;
      let high3 = high0;
      let low0 = high0;
      let low1 = high0;
      let low2 = high0;
      let low3 = high0;
      for (const end = weight + step; weight < end; weight += PAIR) {
        const high = v128.load32_splat(weight);
        const low = v128.load32_splat(weight, 4);
        let at = from;
        const pixels0 = neighbours(at);
        at += sourceStride;
        const pixels1 = neighbours(at);
        at += sourceStride;
        const pixels2 = neighbours(at);
        const pixels3 = neighbours(at + sourceStride);
        high0 = i32x4.add(high0, i32x4.dot_i16x8_s(pixels0, high));
        low0 = i32x4.add(low0, i32x4.dot_i16x8_s(pixels0, low));
        high1 = i32x4.add(high1, i32x4.dot_i16x8_s(pixels1, high));
        low1 = i32x4.add(low1, i32x4.dot_i16x8_s(pixels1, low));
        high2 = i32x4.add(high2, i32x4.dot_i16x8_s(pixels2, high));
        low2 = i32x4.add(low2, i32x4.dot_i16x8_s(pixels2, low));
        high3 = i32x4.add(high3, i32x4.dot_i16x8_s(pixels3, high));
        low3 = i32x4.add(low3, i32x4.dot_i16x8_s(pixels3, low));
        from += 8;
      }
      const four = packed(rounded(high0, low0), rounded(high1, low1), rounded(high2, low2), rounded(high3, low3));
      let at = into + ((<usize>column) << 2);
      v128.store32_lane(at, four, 0);
      at += targetStride;
      v128.store32_lane(at, four, 1);
      at += targetStride;
      v128.store32_lane(at, four, 2);
      v128.store32_lane(at + targetStride, four, 3);
    }
  }
}

/**
 * The vertical pass. Parameters as for `across`, with rows and columns changed over.
 *
 * @param rowBytes of a row of the target, a multiple of 16; as much is read of each row of the source.
 */
export function down(
  source: usize,
  sourceStride: usize,
  rowBytes: usize,
  starts: usize,
  weights: usize,
  pairs: i32,
  rows: i32,
  target: usize,
): void {
  const step = <usize>pairs * PAIR;
  for (let row = 0; row < rows; row++) {
    const first = source + <usize>load<i32>(starts + ((<usize>row) << 2)) * sourceStride;
    const into = target + <usize>row * rowBytes;
    for (let offset: usize = 0; offset < rowBytes; offset += 16) {
      let from = first + offset;
      let high0 = i32x4.splat(0);
      let high1 = high0;
      let high2 = high0;
      let high3 = high0;
      let low0 = high0;
      let low1 = high0;
      let low2 = high0;
      let low3 = high0;
      let weight = weights;
      for (const end = weight + step; weight < end; weight += PAIR) {
        const high = v128.load32_splat(weight);
        const low = v128.load32_splat(weight, 4);
        const above = v128.load(from);
        const below = v128.load(from + sourceStride);
        // a0 b0 a1 b1 ...: of each pixel the numbers above and below as a pair.
        const left = i8x16.shuffle(above, below, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        const right = i8x16.shuffle(above, below, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        const pixels0 = i16x8.extend_low_i8x16_u(left);
        const pixels1 = i16x8.extend_high_i8x16_u(left);
        const pixels2 = i16x8.extend_low_i8x16_u(right);
        const pixels3 = i16x8.extend_high_i8x16_u(right);
        high0 = i32x4.add(high0, i32x4.dot_i16x8_s(pixels0, high));
        low0 = i32x4.add(low0, i32x4.dot_i16x8_s(pixels0, low));
        high1 = i32x4.add(high1, i32x4.dot_i16x8_s(pixels1, high));
        low1 = i32x4.add(low1, i32x4.dot_i16x8_s(pixels1, low));
        high2 = i32x4.add(high2, i32x4.dot_i16x8_s(pixels2, high));
        low2 = i32x4.add(low2, i32x4.dot_i16x8_s(pixels2, low));
        high3 = i32x4.add(high3, i32x4.dot_i16x8_s(pixels3, high));
        low3 = i32x4.add(low3, i32x4.dot_i16x8_s(pixels3, low));
        from += sourceStride << 1;
      }
      v128.store(
        into + offset,
        packed(rounded(high0, low0), rounded(high1, low1), rounded(high2, low2), rounded(high3, low3)),
      );
    }
    weights += step;
  }
}
