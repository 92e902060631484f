/** The codec "tensors": a blob of weights as records, each coded in its own way. docs/bundle.md is the format. */
import { FailureError } from '../failure.ts';
import { BoundedBytes } from './bounded.ts';
import { unzstd } from './zstd.ts';

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

/**
 * The blob that records hold.
 *
 * @param limit bytes that the blob may have.
 * @throws FailureError "corrupt" when it is no such stream, is cut short or damaged, or holds more; "newer" for a later
 * version of the format.
 */
export function decodeRecords(coded: Uint8Array, limit: number): Uint8Array<ArrayBuffer> {
  const magic = String.fromCharCode(...coded.subarray(0, MAGIC.length));
  if (magic !== MAGIC) {
    const code = /^PLT[2-9]$/.test(magic) ? 'newer' : 'corrupt';
    throw new FailureError(code, `expected weights that begin with ${MAGIC}, got ${JSON.stringify(magic)}`);
  }
  const blob = new BoundedBytes(limit);
  const reader = new Reader(coded, MAGIC.length);
  while (!reader.atEnd) {
    const kind = reader.byte();
    const size = reader.number();
    const length = reader.number();
    if (size > MAX_RECORD || length > 2 * MAX_RECORD || blob.length + size > limit) {
      throw damaged(`a record of ${size} bytes is more than may come here; it is refused as unsafe`);
    }
    const content = decode(kind, reader.bytes(length), size);
    if (content.length !== size) throw damaged(`a record decodes to ${content.length} bytes, it says ${size}`);
    blob.add(content);
  }
  return blob.take();
}

function decode(kind: number, payload: Uint8Array, size: number): Uint8Array {
  if (kind === ZEROS && payload.length === 0) return new Uint8Array(size);
  if (kind === STORED) return payload;
  if (kind === ZSTD) return unzstd(payload, size);
  const item = payload[0] ?? 0;
  if (kind > SPARSE || kind < PLANES || item < 1 || item > MAX_ITEM) {
    throw damaged(`a record of kind ${kind} is damaged, or of a newer pocketlens`);
  }
  if (size % item) throw damaged(`a record of ${size} bytes cannot hold items of ${item}`);
  const rest = payload.subarray(1);
  if (kind === PLANES) return fromPlanes(rest, item, size);
  return kind === PALETTE ? fromPalette(rest, item, size) : fromSparse(rest, item, size);
}

/** Items whose first bytes come first, then their second bytes ... */
function fromPlanes(coded: Uint8Array, item: number, size: number): Uint8Array {
  const planes = unzstd(coded, size);
  if (planes.length !== size) throw damaged('planes of a record are cut short');
  const content = new Uint8Array(size);
  const items = size / item;
  for (let plane = 0, from = 0; plane < item; plane += 1) {
    for (let to = plane; from < (plane + 1) * items; from += 1, to += item) content[to] = planes[from]!;
  }
  return content;
}

/** Items by their index in a codebook. */
function fromPalette(coded: Uint8Array, item: number, size: number): Uint8Array {
  const entries = (coded[0] ?? -1) + 1;
  const end = 1 + entries * item;
  const book = coded.subarray(1, end);
  const indices = unzstd(coded.subarray(end), size / item);
  if (book.length !== entries * item || indices.length !== size / item || indices.some((index) => index >= entries)) {
    throw damaged('a record names an entry that its codebook lacks');
  }
  const content = new Uint8Array(size);
  for (let index = 0; index < indices.length; index += 1) {
    const start = indices[index]! * item;
    for (let byte = 0; byte < item; byte += 1) content[index * item + byte] = book[start + byte]!;
  }
  return content;
}

/** Values that are not zero, and how many zeros stand before each. */
function fromSparse(coded: Uint8Array, item: number, size: number): Uint8Array {
  const reader = new Reader(coded, 0);
  const gaps = unzstd(reader.bytes(reader.number()), size / item);
  const values = unzstd(reader.remaining(), size);
  const content = new Uint8Array(size);
  let place = 0;
  let value = 0;
  for (const gap of gaps) {
    place += gap * item;
    if (gap === SKIP) continue;
    if (place + item > size || value + item > values.length) {
      throw damaged('a sparse record has values that it has no room for');
    }
    for (let byte = 0; byte < item; byte += 1) content[place + byte] = values[value + byte]!;
    place += item;
    value += item;
  }
  if (value !== values.length) throw damaged('a sparse record has values that it has no room for');
  return content;
}

/** Bytes in order. */
class Reader {
  constructor(
    private readonly all: Uint8Array,
    private at: number,
  ) {}

  get atEnd(): boolean {
    return this.at >= this.all.length;
  }

  byte(): number {
    if (this.atEnd) throw damaged('cut short');
    return this.all[this.at++]!;
  }

  /** A whole number as LEB128, at most 35 bits. */
  number(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw damaged('a number of more than 35 bits');
  }

  bytes(length: number): Uint8Array {
    if (length > this.all.length - this.at) throw damaged('cut short within a record');
    this.at += length;
    return this.all.subarray(this.at - length, this.at);
  }

  remaining(): Uint8Array {
    return this.bytes(this.all.length - this.at);
  }
}

function damaged(reason: string): FailureError {
  return new FailureError('corrupt', `its weights are damaged (${reason})`);
}
