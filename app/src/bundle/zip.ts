/** Reading a zip as if a stranger had made it: the directory first, entries one by one, nothing believed. */
import { FailureError } from '../failure.ts';
import { BoundedBytes } from './bounded.ts';
import { crc32 } from './crc32.ts';
import { isSafePath } from './paths.ts';

export interface ZipEntry {
  name: string;
  method: 'stored' | 'deflated';
  /** Bytes once unpacked, as the directory says. */
  size: number;
  crc: number;
  /** What is packed, a view of the file. */
  packed: Uint8Array<ArrayBuffer>;
}

const MAX_ENTRIES = 1000;
const MAX_COMMENT = 0xffff;
/** 6.3, the last version of the zip specification that added a feature. */
const MAX_VERSION = 63;

/** Layout of the fixed part of each record: its signature and its length. */
const END = { signature: 0x06054b50, length: 22 };
const CENTRAL = { signature: 0x02014b50, length: 46 };
const LOCAL = { signature: 0x04034b50, length: 30 };

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
export function readDirectory(file: Uint8Array<ArrayBuffer>): Map<string, ZipEntry> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = findEnd(view);
  const count = view.getUint16(end + 10, true);
  const start = view.getUint32(end + 16, true);
  if (count === 0xffff || start === 0xffffffff) {
    throw new FailureError('unsupported', 'expected a zip, got a zip64; pack it again with less in it');
  }
  if (count > MAX_ENTRIES) refuse(`holds ${count} members, at most ${MAX_ENTRIES} are allowed`);
  if (start + view.getUint32(end + 12, true) !== end) refuse('its directory is not where it says, it is damaged');
  const entries = new Map<string, ZipEntry>();
  const spans: [number, number][] = [];
  let at = start;
  for (let index = 0; index < count; index += 1) {
    if (at + CENTRAL.length > end || view.getUint32(at, true) !== CENTRAL.signature) refuse('its directory is damaged');
    const { entry, span, next } = readEntry(file, view, at, start);
    if (entries.has(entry.name)) refuse('holds two members of one name; it is refused as unsafe');
    entries.set(entry.name, entry);
    spans.push(span);
    at = next;
  }
  if (at !== end) refuse('its directory is damaged');
  spans.sort(([a], [b]) => a - b);
  if (spans.some(([from], index) => index > 0 && from < spans[index - 1]![1])) refuse('has members that overlap');
  return entries;
}

/**
 * Unpack an entry, in pieces, stopping as soon as there is more than the directory says.
 *
 * @throws FailureError "corrupt" when it is damaged.
 */
export async function unzip(entry: ZipEntry): Promise<Uint8Array<ArrayBuffer>> {
  const content = entry.method === 'stored' ? entry.packed : await inflate(entry.packed, entry.size);
  if (content.length !== entry.size) refuse(`unpacks to ${content.length} bytes, the zip says ${entry.size}`);
  if (crc32(content) !== entry.crc) refuse('its checksum is not the one in the zip');
  return content;
}

function findEnd(view: DataView): number {
  const last = view.byteLength - END.length;
  for (let at = last; at >= 0 && at >= last - MAX_COMMENT; at -= 1) {
    if (view.getUint32(at, true) === END.signature && view.getUint16(at + 20, true) === last - at) return at;
  }
  return refuse('expected a zip, got something else or the first part of one');
}

function readEntry(file: Uint8Array<ArrayBuffer>, view: DataView, at: number, limit: number) {
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  const packedSize = view.getUint32(at + 20, true);
  const size = view.getUint32(at + 24, true);
  const nameLength = view.getUint16(at + 28, true);
  const name = nameOf(file.subarray(at + CENTRAL.length, at + CENTRAL.length + nameLength));
  const local = view.getUint32(at + 42, true);
  if (!isSafePath(name)) refuse(`member ${JSON.stringify(name.slice(0, 80))} is no plain relative path`);
  if (flags & 1 || (method !== 0 && method !== 8)) {
    refuse(`member ${name} is encrypted or compressed by method ${method}; expected stored or deflated`);
  }
  if (view.getUint8(at + 6) > MAX_VERSION) refuse(`member ${name} needs a newer kind of zip`);
  if (local + LOCAL.length > limit || view.getUint32(local, true) !== LOCAL.signature) refuse(`${name} is damaged`);
  const localName = local + LOCAL.length;
  const localLength = view.getUint16(local + 26, true);
  const data = localName + localLength + view.getUint16(local + 28, true);
  if (data + packedSize > limit || nameOf(file.subarray(localName, localName + localLength)) !== name) {
    refuse(`${name} is damaged`);
  }
  const entry: ZipEntry = {
    name,
    method: method === 0 ? 'stored' : 'deflated',
    size,
    crc: view.getUint32(at + 16, true),
    packed: file.subarray(data, data + packedSize),
  };
  const next = at + CENTRAL.length + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  return { entry, span: [local, data + packedSize] as [number, number], next };
}

/** Byte for byte: names that are allowed are ASCII, and any other character is refused by itself. */
function nameOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
}

async function inflate(packed: Uint8Array<ArrayBuffer>, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  let at = 0;
  const source = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      pull(controller) {
        if (at >= packed.length) return controller.close();
        controller.enqueue(packed.subarray(at, at + PIECE));
        at += PIECE;
      },
    },
    { highWaterMark: 0 },
  );
  const content = new BoundedBytes(limit);
  const reader = source.pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) content.add(read.value);
  } catch (thrown) {
    await reader.cancel().catch(() => undefined);
    if (thrown instanceof FailureError) throw thrown;
    refuse('its compressed data is damaged');
  }
  return content.take();
}

function refuse(detail: string): never {
  throw new FailureError('corrupt', detail);
}
