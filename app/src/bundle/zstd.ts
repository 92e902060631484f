/** Undoing zstd within bounds. */
import { Decompress } from 'fzstd';
import { FailureError, failureOf } from '../failure.ts';
import { BoundedBytes } from './bounded.ts';

/** Frames that need a larger window, and so more memory to decode, are refused. */
const MAX_WINDOW = 2 ** 27;
const MAX_BLOCK = 128 * 1024;
const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
/** fzstd joins what is left of a piece with the next, so pieces are about a block. */
const PIECE = 128 * 1024;

/**
 * Decode one or more zstd frames.
 *
 * fzstd takes the window that a frame asks for, up to 2 GB, before it decodes a byte, and lets blocks be larger than
 * the format allows; so the frames are walked first.
 *
 * @param limit more bytes than this are refused before they take memory.
 * @throws FailureError "corrupt".
 */
export function unzstd(coded: Uint8Array, limit: number): Uint8Array<ArrayBuffer> {
  const content = new BoundedBytes(limit);
  for (const frame of frames(coded)) {
    const decoder = new Decompress((piece) => content.add(piece));
    try {
      for (let at = 0; at < frame.length; at += PIECE) {
        decoder.push(frame.subarray(at, at + PIECE), at + PIECE >= frame.length);
      }
    } catch (thrown) {
      if (thrown instanceof FailureError) throw thrown;
      const { code, detail } = failureOf(thrown, 'corrupt');
      throw new FailureError(code, `its zstd data is damaged (${detail})`);
    }
  }
  return content.take();
}

/** The data frames, each as a view; skippable ones are left out. See RFC 8878, section 3.1. */
function* frames(coded: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(coded.buffer, coded.byteOffset, coded.byteLength);
  let at = 0;
  try {
    while (at < coded.length) {
      const start = at;
      const magic = view.getUint32(at, true);
      if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) {
        at += 8 + view.getUint32(at + 4, true);
        continue;
      }
      if (magic !== MAGIC) throw damaged('no frame where one should begin');
      const { length, window, checksum } = frameHeader(view, at + 4);
      if (window > MAX_WINDOW) throw damaged(`needs a window of ${window} bytes, at most ${MAX_WINDOW} are allowed`);
      at = blocksEnd(view, at + 4 + length, Math.min(window, MAX_BLOCK)) + (checksum ? 4 : 0);
      if (at > coded.length) throw damaged('cut short');
      yield coded.subarray(start, at);
    }
  } catch (thrown) {
    if (thrown instanceof RangeError) throw damaged('cut short');
    throw thrown;
  }
  if (at !== coded.length || at === 0) throw damaged('cut short');
}

function frameHeader(view: DataView, at: number): { length: number; window: number; checksum: boolean } {
  const descriptor = view.getUint8(at);
  const single = Boolean(descriptor & 0x20);
  if (descriptor & 0x0b) throw damaged('it needs a dictionary or sets reserved bits');
  const sizeCode = descriptor >> 6;
  const sizeBytes = sizeCode === 0 ? Number(single) : 2 ** sizeCode;
  const length = 1 + Number(!single) + sizeBytes;
  if (!single) {
    const code = view.getUint8(at + 1);
    const base = 2 ** (10 + (code >> 3));
    return { length, window: base + (base / 8) * (code & 7), checksum: Boolean(descriptor & 4) };
  }
  let window = 0;
  for (let index = 0; index < sizeBytes; index += 1) window += view.getUint8(at + 1 + index) * 2 ** (8 * index);
  if (sizeCode === 1) window += 256;
  return { length, window, checksum: Boolean(descriptor & 4) };
}

function blocksEnd(view: DataView, start: number, largest: number): number {
  let at = start;
  for (let last = false; !last;) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const size = header >> 3;
    const type = (header >> 1) & 3;
    if (type === 3 || size > largest) throw damaged('a block is of no known type or too large');
    last = Boolean(header & 1);
    at += 3 + (type === 1 ? 1 : size);
  }
  return at;
}

function damaged(reason: string): FailureError {
  return new FailureError('corrupt', `its zstd data is damaged (${reason})`);
}
