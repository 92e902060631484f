/** Pillow's 8-bit resampling in plain TypeScript, for browsers without SIMD. */
import { PRECISION_BITS, type Axis } from './axis.ts';
import type { Plan } from './plan.ts';

/** A resized picture, valid until the next one. */
export interface Resized {
  /** RGBA, (height, stride, 4). */
  pixels: Uint8Array;
  /** Pixels from row to row, at least the width. */
  stride: number;
}

/** Resizes pictures, keeping its buffers from one to the next. */
export interface Resizer {
  /** @param pixels RGBA of `plan.source`. */
  resize(pixels: Uint8ClampedArray, plan: Plan): Resized;
}

const HALF = 1 << (PRECISION_BITS - 1);

export class PlainResizer implements Resizer {
  #between = new Uint8ClampedArray(0);
  #target = new Uint8ClampedArray(0);

  resize(pixels: Uint8ClampedArray, { source, across, down, first }: Plan): Resized {
    const columns = across.starts.length;
    const rows = down.starts.length;
    this.#target = room(this.#target, columns * rows * 4);
    if (first === 'across') {
      this.#between = room(this.#between, columns * source.height * 4);
      passAcross(pixels, source.width, source.height, across, this.#between);
      passDown(this.#between, columns, down, this.#target);
    } else {
      this.#between = room(this.#between, source.width * rows * 4);
      passDown(pixels, source.width, down, this.#between);
      passAcross(this.#between, source.width, rows, across, this.#target);
    }
    return { pixels: new Uint8Array(this.#target.buffer, 0, columns * rows * 4), stride: columns };
  }
}

function room(buffer: Uint8ClampedArray<ArrayBuffer>, length: number): Uint8ClampedArray<ArrayBuffer> {
  return buffer.length >= length ? buffer : new Uint8ClampedArray(length);
}

/** @param width of the source, pixels. A clamped array clips for us. */
function passAcross(
  from: Uint8ClampedArray,
  width: number,
  rows: number,
  { taps, starts, weights }: Axis,
  into: Uint8ClampedArray,
): void {
  for (let row = 0, at = 0; row < rows; row += 1) {
    for (let column = 0, weight = 0; column < starts.length; column += 1, at += 4) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let pixel = (row * width + starts[column]!) * 4;
      for (let tap = 0; tap < taps; tap += 1, pixel += 4, weight += 1) {
        const factor = weights[weight]!;
        red += from[pixel]! * factor;
        green += from[pixel + 1]! * factor;
        blue += from[pixel + 2]! * factor;
      }
      into[at] = red >> PRECISION_BITS;
      into[at + 1] = green >> PRECISION_BITS;
      into[at + 2] = blue >> PRECISION_BITS;
    }
  }
}

/** @param width of source and target, pixels. */
function passDown(
  from: Uint8ClampedArray,
  width: number,
  { taps, starts, weights }: Axis,
  into: Uint8ClampedArray,
): void {
  const rowBytes = width * 4;
  for (let row = 0, target = 0; row < starts.length; row += 1) {
    const begin = starts[row]! * rowBytes;
    for (let column = 0; column < rowBytes; column += 1, target += 1) {
      let sum = HALF;
      for (let tap = 0, at = begin + column; tap < taps; tap += 1, at += rowBytes) {
        sum += from[at]! * weights[row * taps + tap]!;
      }
      into[target] = sum >> PRECISION_BITS;
    }
  }
}
