/** Reading a zip as if a stranger had made it: the directory first, entries one by one, nothing believed. */
import { FailureError } from '../failure.ts';
import { Content, excess } from './content.ts';
import { crc32 } from './crc32.ts';
import { isSafePath } from './paths.ts';

export interface ZipEntry {
  name: string;
  method: 'stored' | 'deflated';
  /** Bytes once unpacked, as the directory says. */
  size: number;
  crc: number;
  /** What is packed, as it lies in the file. */
  packed: Blob;
}

const MAX_ENTRIES = 1000;
const MAX_COMMENT = 0xffff;
/** 6.3, the last version of the zip specification that added a feature. */
const MAX_VERSION = 63;

/** Layout of the fixed part of each record: its signature and its length. */
const END = { signature: 0x06054b50, length: 22 };
const CENTRAL = { signature: 0x02014b50, length: 46 };
const LOCAL = { signature: 0x04034b50, length: 30 };

/** What is read of the file at once. */
const SLICE = 512 * 1024;

/** Deflate packs at most 1032 : 1, so a piece of this size unpacks to 17 MB at most before the limit is looked at. */
const PIECE = 16 * 1024;

/**
 * The entries of a zip, by name.
 *
 * Checked: at most 1,000, of different names that are plain relative paths, stored or deflated, not encrypted, within
 * the file and apart from one another.
 *
 * @throws FailureError "corrupt".
 */
export async function readDirectory(file: Blob): Promise<Map<string, ZipEntry>> {
  const { end, at: last } = await findEnd(file);
  const count = last.getUint16(10, true);
  const start = last.getUint32(16, true);
  if (count === 0xffff || start === 0xffffffff) {
    throw new FailureError('unsupported', 'expected a zip, got a zip64; pack it again with less in it');
  }
  if (count > MAX_ENTRIES) refuse(`holds ${count} members, at most ${MAX_ENTRIES} are allowed`);
  if (start + last.getUint32(12, true) !== end) refuse('its directory is not where it says, it is damaged');
  const entries = new Map<string, ZipEntry>();
  const spans: [number, number][] = [];
  const view = await viewOf(file, start, end);
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    if (at + CENTRAL.length > view.byteLength || view.getUint32(at, true) !== CENTRAL.signature) {
      refuse('its directory is damaged');
    }
    const { entry, span, next } = await readEntry(file, view, at, start);
    if (entries.has(entry.name)) refuse('holds two members of one name; it is refused as unsafe');
    entries.set(entry.name, entry);
    spans.push(span);
    at = next;
  }
  if (at !== view.byteLength) refuse('its directory is damaged');
  spans.sort(([a], [b]) => a - b);
  if (spans.some(([from], index) => index > 0 && from < spans[index - 1]![1])) refuse('has members that overlap');
  return entries;
}

/**
 * An entry unpacked as it is read, piece by piece; each holds until the next is asked for. The zip's checks are done when
 * the last has come.
 *
 * @throws FailureError "corrupt" when it is damaged, or there is more than the directory says.
 */
export async function* unzipped({ packed, method, size, crc }: ZipEntry): AsyncGenerator<Uint8Array> {
  let length = 0;
  let checksum = 0;
  for await (const piece of method === 'stored' ? pieces(packed) : inflated(packed)) {
    length += piece.length;
    if (length > size) throw excess(size);
    checksum = crc32(piece, checksum);
    yield piece;
  }
  if (length !== size) refuse(`unpacks to ${length} bytes, the zip says ${size}`);
  if (checksum !== crc) refuse('its checksum is not the one in the zip');
}

/** An entry unpacked, as a whole. Throws FailureError "corrupt" when it is damaged. */
export async function unzip(entry: ZipEntry): Promise<Uint8Array<ArrayBuffer>> {
  const content = new Content(entry.size);
  for await (const piece of unzipped(entry)) content.add(piece);
  return content.take();
}

/** Where the zip's last record begins, and that record. */
async function findEnd(file: Blob): Promise<{ end: number; at: DataView }> {
  const from = Math.max(0, file.size - END.length - MAX_COMMENT);
  const view = await viewOf(file, from, file.size);
  const last = view.byteLength - END.length;
  for (let at = last; at >= 0; at -= 1) {
    if (view.getUint32(at, true) === END.signature && view.getUint16(at + 20, true) === last - at) {
      return { end: from + at, at: new DataView(view.buffer, at, END.length) };
    }
  }
  return refuse('expected a zip, got something else or the first part of one');
}

async function readEntry(file: Blob, directory: DataView, at: number, limit: number) {
  const flags = directory.getUint16(at + 8, true);
  const method = directory.getUint16(at + 10, true);
  const packedSize = directory.getUint32(at + 20, true);
  const size = directory.getUint32(at + 24, true);
  const nameLength = directory.getUint16(at + 28, true);
  const name = nameOf(directory, at + CENTRAL.length, nameLength);
  const local = directory.getUint32(at + 42, true);
  if (!isSafePath(name)) refuse(`member ${JSON.stringify(name.slice(0, 80))} is no plain relative path`);
  if (flags & 1 || (method !== 0 && method !== 8)) {
    refuse(`member ${name} is encrypted or compressed by method ${method}; expected stored or deflated`);
  }
  if (directory.getUint8(at + 6) > MAX_VERSION) refuse(`member ${name} needs a newer kind of zip`);
  if (local + LOCAL.length > limit) refuse(`${name} is damaged`);
  const header = await viewOf(file, local, Math.min(local + LOCAL.length + nameLength, limit));
  const localLength = header.getUint16(26, true);
  const data = local + LOCAL.length + localLength + header.getUint16(28, true);
  if (header.getUint32(0, true) !== LOCAL.signature || data + packedSize > limit || localLength !== nameLength) {
    refuse(`${name} is damaged`);
  }
  if (nameOf(header, LOCAL.length, localLength) !== name) refuse(`${name} is damaged`);
  const entry: ZipEntry = {
    name,
    method: method === 0 ? 'stored' : 'deflated',
    size,
    crc: directory.getUint32(at + 16, true),
    packed: file.slice(data, data + packedSize),
  };
  const extras = directory.getUint16(at + 30, true) + directory.getUint16(at + 32, true);
  const next = at + CENTRAL.length + nameLength + extras;
  return { entry, span: [local, data + packedSize] as [number, number], next };
}

/** Bytes [start, end) of a file. */
async function viewOf(file: Blob, start: number, end: number): Promise<DataView<ArrayBuffer>> {
  return new DataView(await file.slice(start, end).arrayBuffer());
}

/** Byte for byte: names that are allowed are ASCII, and any other character is refused by itself. */
function nameOf({ buffer, byteLength }: DataView, start: number, length: number): string {
  const bytes = new Uint8Array(buffer, start, Math.min(length, byteLength - start));
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
}

/** A file in one buffer that is used again and again, so that no garbage gathers, where the browser can. */
async function* pieces(file: Blob): AsyncGenerator<Uint8Array> {
  const reader = readerInto(file);
  if (!reader) return yield* slices(file);
  try {
    for (let buffer = new ArrayBuffer(SLICE); ;) {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (done) return;
      yield value;
      buffer = value.buffer;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Not every browser has one. */
function readerInto(file: Blob): ReadableStreamBYOBReader | null {
  try {
    return file.stream().getReader({ mode: 'byob' });
  } catch {
    return null;
  }
}

/** Not as a plain stream, whose pieces are as large as the browser likes: 2 MiB in Chromium. */
async function* slices(file: Blob): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < file.size; at += SLICE) {
    yield new Uint8Array(await file.slice(at, at + SLICE).arrayBuffer());
  }
}

async function* inflated(packed: Blob): AsyncGenerator<Uint8Array> {
  const source = cut(slices(packed), PIECE);
  const small = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        const { done, value } = await source.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
    },
    { highWaterMark: 0 },
  );
  const reader = small.pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  } catch (thrown) {
    if (thrown instanceof FailureError) throw thrown;
    refuse('its compressed data is damaged');
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

async function* cut(
  source: AsyncIterable<Uint8Array<ArrayBuffer>>,
  length: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for await (const piece of source) {
    for (let at = 0; at < piece.length; at += length) yield piece.subarray(at, at + length);
  }
}

function refuse(detail: string): never {
  throw new FailureError('corrupt', detail);
}
