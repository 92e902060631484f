/** From 8-bit pixels to a model's input: (pixel - mean) / std, channel after channel. */
import type { Preprocessing } from '../bundle/manifest.ts';
import { roundHalfEven } from '../rounding.ts';
import type { Resized } from './resize.ts';

/** A model's input, NCHW for n = 1; of half-precision numbers the bits. */
export type Input = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

/** What each of 256 pixel values becomes, for red, green, blue in turn; exactly what NumPy computes in float32. */
export function normaliseTable({ mean, std }: Preprocessing, type: 'float32' | 'float16'): Input {
  const values = Float32Array.from({ length: 3 * 256 }, (_, index) => {
    const channel = index >> 8;
    return Math.fround((index & 255) - Math.fround(mean[channel]!)) / Math.fround(std[channel]!);
  });
  return type === 'float32' ? values : Uint16Array.from(values, halfBits);
}

/**
 * Fill `target`, (3, height, width).
 *
 * @param table of normaliseTable, of the same type as `target`.
 */
export function normalise(
  { pixels, stride }: Resized,
  width: number,
  height: number,
  table: Input,
  target: Input,
): void {
  const plane = width * height;
  let at = 0;
  for (let row = 0; row < height; row += 1) {
    let pixel = row * stride * 4;
    for (const end = at + width; at < end; at += 1, pixel += 4) {
      target[at] = table[pixels[pixel]!]!;
      target[at + plane] = table[256 + pixels[pixel + 1]!]!;
      target[at + 2 * plane] = table[512 + pixels[pixel + 2]!]!;
    }
  }
}

/** The bits of the nearest IEEE half, a tie to even. */
function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(size)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  // Below 2^-14 halves are subnormal: multiples of 2^-24.
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const steps = roundHalfEven(size * 2 ** (10 - exponent));
  // A mantissa that rounds up to 2048 carries into the exponent by itself.
  return sign | (steps + ((exponent + 14) << 10));
}

/** The number that a half's bits stand for. */
export function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa ? NaN : sign * Infinity;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}
