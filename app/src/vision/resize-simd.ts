/** Pillow's 8-bit resampling in SIMD; app/assembly/resize.ts holds the two passes. */
import { FailureError } from '../failure.ts';
import type { Axis } from './axis.ts';
import type { Plan } from './plan.ts';
import type { Resized, Resizer } from './resize.ts';

/** What assembly/resize.ts exports; numbers are addresses, bytes or counts. */
interface Passes {
  memory: WebAssembly.Memory;
  reserve(bytes: number): number;
  across(
    source: number,
    sourceStride: number,
    rows: number,
    starts: number,
    weights: number,
    pairs: number,
    columns: number,
    target: number,
    targetStride: number,
  ): void;
  down(
    source: number,
    sourceStride: number,
    rowBytes: number,
    starts: number,
    weights: number,
    pairs: number,
    rows: number,
    target: number,
  ): void;
}

/** Sources are brought in by bands of rows: a photo must not make the memory grow for good. */
const BAND_BYTES = 8 * 1024 * 1024;

const HALF_BITS = 11;

/** Where one plan's data lies in the memory. */
interface Layout {
  plan: Plan;
  /** Rows of the source that fit in at a time. */
  bandRows: number;
  source: number;
  between: number;
  target: number;
  across: AxisAt;
  down: AxisAt;
}

interface AxisAt {
  starts: number;
  weights: number;
  pairs: number;
}

export class SimdResizer implements Resizer {
  #layout: Layout | null = null;

  private constructor(private readonly passes: Passes) {}

  /** @param wasm assembly/resize.ts, compiled. Throws where the browser has no SIMD. */
  static async of(wasm: BufferSource): Promise<SimdResizer> {
    const { instance } = await WebAssembly.instantiate(wasm);
    return new SimdResizer(instance.exports as unknown as Passes);
  }

  resize(pixels: Uint8ClampedArray, plan: Plan): Resized {
    if (this.#layout?.plan !== plan) this.#layout = this.#layOut(plan);
    const { between, target } = this.#layout;
    const rows = plan.down.starts.length;
    const stride = rowBytesOf(plan.across.starts.length);
    if (plan.first === 'across') {
      this.#acrossInBands(pixels, this.#layout, stride);
      this.#down(this.#layout, between, stride, stride, target);
    } else {
      const { width } = plan.source;
      this.#bring(pixels, this.#layout.source);
      this.#down(this.#layout, this.#layout.source, width * 4, rowBytesOf(width), between);
      this.#across(this.#layout, between, rowBytesOf(width), rows, target, stride);
    }
    return { pixels: new Uint8Array(this.passes.memory.buffer, target, stride * rows), stride: stride / 4 };
  }

  #acrossInBands(pixels: Uint8ClampedArray, layout: Layout, stride: number): void {
    const { plan, bandRows, source, between } = layout;
    const rowBytes = plan.source.width * 4;
    for (let row = 0; row < plan.source.height; row += bandRows) {
      const rows = Math.min(bandRows, plan.source.height - row);
      this.#bring(pixels.subarray(row * rowBytes, (row + rows) * rowBytes), source);
      this.#across(layout, source, rowBytes, rows, between + row * stride, stride);
    }
  }

  #bring(pixels: Uint8ClampedArray, at: number): void {
    new Uint8Array(this.passes.memory.buffer).set(pixels, at);
  }

  #across(
    { plan, across }: Layout,
    from: number,
    fromStride: number,
    rows: number,
    into: number,
    stride: number,
  ): void {
    const { starts, weights, pairs } = across;
    this.passes.across(from, fromStride, fours(rows), starts, weights, pairs, plan.across.starts.length, into, stride);
  }

  #down({ plan, down }: Layout, from: number, fromStride: number, rowBytes: number, into: number): void {
    const { starts, weights, pairs } = down;
    this.passes.down(from, fromStride, rowBytes, starts, weights, pairs, plan.down.starts.length, into);
  }

  #layOut(plan: Plan): Layout {
    const { width, height } = plan.source;
    const columns = plan.across.starts.length;
    const rows = plan.down.starts.length;
    const fitting = Math.max(4, Math.floor(BAND_BYTES / (width * 4)) & ~3);
    const bandRows = plan.first === 'across' ? Math.min(fours(height), fitting) : height;
    let end = 0;
    const place = (bytes: number): number => {
      const at = end;
      end += (bytes + 15) & ~15;
      return at;
    };
    // The passes read taps in pairs and rows in fours: up to a row and some pixels more than there are.
    const sourceAt = place((bandRows + 1) * width * 4 + 16);
    const betweenAt =
      plan.first === 'across'
        ? place((fours(height) + 1) * rowBytesOf(columns))
        : place(fours(rows) * rowBytesOf(width) + 16);
    const targetAt = place(fours(rows) * rowBytesOf(columns));
    const across = placeAxis(plan.across, place);
    const down = placeAxis(plan.down, place);
    const base = this.passes.reserve(end);
    if (base === 0)
      throw new FailureError('memory', `expected ${end} bytes for resizing, got none; take a smaller photo`);
    return {
      plan,
      bandRows,
      source: base + sourceAt,
      between: base + betweenAt,
      target: base + targetAt,
      across: this.#bringAxis(plan.across, across, base),
      down: this.#bringAxis(plan.down, down, base),
    };
  }

  #bringAxis(axis: Axis, { starts, weights, pairs }: AxisAt, base: number): AxisAt {
    const { buffer } = this.passes.memory;
    new Int32Array(buffer, base + starts, axis.starts.length).set(axis.starts);
    new Int32Array(buffer, base + weights, axis.starts.length * pairs * 2).set(pairsOf(axis));
    return { starts: base + starts, weights: base + weights, pairs };
  }
}

/** Bytes of a row of `pixels`, filled up to 16: the vertical pass works on four at a time. */
function rowBytesOf(pixels: number): number {
  return fours(pixels) * 4;
}

/** The least multiple of 4 that is not less. */
function fours(count: number): number {
  return (count + 3) & ~3;
}

function placeAxis({ starts, taps }: Axis, place: (bytes: number) => number): AxisAt {
  const pairs = Math.ceil(taps / 2);
  return { pairs, starts: place(starts.length * 4), weights: place(starts.length * pairs * 8) };
}

/** Weights as assembly/resize.ts wants them: the high halves of two taps in one word, the low halves in the next. */
function pairsOf({ starts, taps, weights }: Axis): Int32Array {
  const pairs = Math.ceil(taps / 2);
  const packed = new Int32Array(starts.length * pairs * 2);
  for (let target = 0, at = 0; target < starts.length; target += 1) {
    for (let tap = 0; tap < pairs * 2; tap += 2, at += 2) {
      const first = weights[target * taps + tap]!;
      const second = tap + 1 < taps ? weights[target * taps + tap + 1]! : 0;
      packed[at] = ((first >> HALF_BITS) & 0xffff) | ((second >> HALF_BITS) << 16);
      packed[at + 1] = (first & 0x7ff) | ((second & 0x7ff) << 16);
    }
  }
  return packed;
}
