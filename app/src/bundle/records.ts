/** The codec "tensors": a blob of weights as records, each coded in its own way. docs/bundle.md is the format. */
import { FailureError } from '../failure.ts';
import { Content } from './content.ts';
import { Fed, type Parser, type Wish } from './fed.ts';
import { Zstd } from './zstd.ts';

const MAGIC = 'PLT1';
/** No record may decode to more, so that none needs more memory beside the blob. */
const MAX_RECORD = 2 ** 20;
const MAX_ITEM = 16;
/** A gap that says: so many zeros, and no value behind them. */
const SKIP = 255;

const ZEROS = 0;
const STORED = 1;
const ZSTD = 2;
const PLANES = 3;
const PALETTE = 4;
const SPARSE = 5;
const SCALED = 6;

/** Rebuilds a blob while its records arrive, in pieces of any size. */
export class RecordDecoder {
  readonly #fed: Fed;

  /** @param blob empty; what records hold goes there. */
  constructor(blob: Content) {
    this.#fed = new Fed(records(blob));
  }

  /**
   * The next piece.
   *
   * @throws FailureError "corrupt" when this is no such stream, is damaged, or holds more than the blob may; "newer" for
   * a later version of the format.
   */
  push(piece: Uint8Array): void {
    this.#fed.push(piece);
  }

  /** That was all. Throws FailureError "corrupt" when it was not. */
  end(): void {
    if (!this.#fed.mayEnd) throw damaged('cut short');
  }
}

/** The blob that records hold, at most `limit` bytes. Throws as `RecordDecoder` does. */
export function decodeRecords(coded: Uint8Array, limit: number): Uint8Array<ArrayBuffer> {
  const blob = new Content(limit);
  const decoder = new RecordDecoder(blob);
  decoder.push(coded);
  decoder.end();
  return blob.take();
}

function* records(blob: Content): Parser {
  const bench = new Workbench();
  const magic = String.fromCharCode(...(yield { bytes: MAGIC.length }));
  if (magic !== MAGIC) {
    const code = /^PLT[2-9]$/.test(magic) ? 'newer' : 'corrupt';
    throw new FailureError(code, `expected weights that begin with ${MAGIC}, got ${JSON.stringify(magic)}`);
  }
  for (;;) {
    const kind = (yield { bytes: 1, last: true })[0]!;
    const size = yield* number();
    const length = yield* number();
    if (size > MAX_RECORD || length > 2 * MAX_RECORD || blob.length + size > blob.limit) {
      throw damaged(`a record of ${size} bytes is more than may come here; it is refused as unsafe`);
    }
    const payload = length ? yield { bytes: length } : new Uint8Array(0);
    const start = blob.length;
    const target = blob.room(size);
    if (kind === SCALED) scale(payload, target, blob.view(0, start));
    else decode(kind, payload, target, bench);
  }
}

/** What each record needs while it is decoded, used again for the next, so that no garbage gathers. */
class Workbench {
  readonly zstd = new Zstd();
  readonly #buffers = [new Uint8Array(0), new Uint8Array(0)];

  /** `length` bytes of any content. */
  buffer(which: 0 | 1, length: number): Uint8Array {
    if (this.#buffers[which]!.length < length) this.#buffers[which] = new Uint8Array(length);
    return this.#buffers[which]!.subarray(0, length);
  }
}

/** A whole number as LEB128, at most 35 bits. */
function* number(): Generator<Wish, number, Uint8Array> {
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    const [byte] = yield { bytes: 1 };
    value += (byte! & 127) * 2 ** shift;
    if (byte! < 128) return value;
  }
  throw damaged('a number of more than 35 bits');
}

/** One record into `target`, which is all 0. */
function decode(kind: number, payload: Uint8Array, target: Uint8Array, bench: Workbench): void {
  if (kind === ZEROS && payload.length === 0) return;
  if (kind === STORED) {
    if (payload.length !== target.length) {
      throw damaged(`a record decodes to ${payload.length} bytes, it says ${target.length}`);
    }
    return target.set(payload);
  }
  if (kind === ZSTD) return fill(target, payload, bench);
  const item = payload[0] ?? 0;
  if (kind > SPARSE || kind < PLANES || item < 1 || item > MAX_ITEM) {
    throw damaged(`a record of kind ${kind} is damaged, or of a newer pocketlens`);
  }
  if (target.length % item) throw damaged(`a record of ${target.length} bytes cannot hold items of ${item}`);
  const rest = payload.subarray(1);
  if (kind === PLANES) fromPlanes(rest, item, target, bench);
  else if (kind === PALETTE) fromPalette(rest, item, target, bench);
  else fromSparse(rest, item, target, bench);
}

/** Zstd of exactly so many bytes. */
function fill(target: Uint8Array, coded: Uint8Array, bench: Workbench): void {
  const length = bench.zstd.decode(coded, target);
  if (length !== target.length) throw damaged(`zstd gives ${length} bytes where ${target.length} are needed`);
}

/** Items whose first bytes come first, then their second bytes ... */
function fromPlanes(coded: Uint8Array, item: number, target: Uint8Array, bench: Workbench): void {
  const planes = bench.buffer(0, target.length);
  fill(planes, coded, bench);
  const items = target.length / item;
  for (let plane = 0, from = 0; plane < item; plane += 1) {
    for (let to = plane; from < (plane + 1) * items; from += 1, to += item) target[to] = planes[from]!;
  }
}

/** Items by their index in a codebook. */
function fromPalette(coded: Uint8Array, item: number, target: Uint8Array, bench: Workbench): void {
  const entries = (coded[0] ?? -1) + 1;
  const end = 1 + entries * item;
  const book = coded.subarray(1, end);
  const indices = bench.buffer(0, target.length / item);
  fill(indices, coded.subarray(end), bench);
  if (book.length !== entries * item || indices.some((index) => index >= entries)) {
    throw damaged('a record names an entry that its codebook lacks');
  }
  for (let index = 0; index < indices.length; index += 1) {
    const start = indices[index]! * item;
    for (let byte = 0; byte < item; byte += 1) target[index * item + byte] = book[start + byte]!;
  }
}

/** Values that are not zero, and how many zeros stand before each. */
function fromSparse(coded: Uint8Array, item: number, target: Uint8Array, bench: Workbench): void {
  const { value: length, rest } = leading(coded);
  if (length > rest.length) throw damaged('cut short within gaps');
  const gaps = bench.buffer(0, target.length / item);
  const values = bench.buffer(1, target.length);
  const count = bench.zstd.decode(rest.subarray(0, length), gaps);
  const end = bench.zstd.decode(rest.subarray(length), values);
  let place = 0;
  let value = 0;
  for (let index = 0; index < count; index += 1) {
    const gap = gaps[index]!;
    place += gap * item;
    if (gap === SKIP) continue;
    if (place + item > target.length || value + item > end) {
      throw damaged('a sparse record has values that it has no room for');
    }
    for (let byte = 0; byte < item; byte += 1) target[place + byte] = values[value + byte]!;
    place += item;
    value += item;
  }
  if (value !== end) throw damaged('a sparse record has values that it has no room for');
}

/** Floats that are others before them times a factor, each product rounded to float32. */
function scale(payload: Uint8Array, target: Uint8Array, before: Uint8Array): void {
  const { value: offset, rest } = leading(payload);
  const { length } = target;
  if (rest.length !== 4 || length % 4 || offset % 4 || offset + length > before.length) {
    throw damaged('a record scales what is not there before it, or no whole floats');
  }
  const factor = dataView(rest).getFloat32(0, true);
  const from = dataView(before.subarray(offset, offset + length));
  const to = dataView(target);
  // A product of two float32 is exact as a double, so that it is rounded once: when it is stored.
  let finite = Number.isFinite(factor);
  for (let at = 0; at < length; at += 4) {
    to.setFloat32(at, from.getFloat32(at, true) * factor, true);
    finite &&= Number.isFinite(to.getFloat32(at, true));
  }
  if (!finite) throw damaged('a record scales to what is no finite number');
}

/** The number at the start, and what is behind it. */
function leading(bytes: Uint8Array): { value: number; rest: Uint8Array } {
  const reading = number();
  let step = reading.next();
  for (let at = 0; at < bytes.length; at += 1) {
    step = reading.next(bytes.subarray(at, at + 1));
    if (step.done) return { value: step.value, rest: bytes.subarray(at + 1) };
  }
  throw damaged('cut short within a number');
}

function dataView({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

function damaged(reason: string): FailureError {
  return new FailureError('corrupt', `its weights are damaged (${reason})`);
}
