/** Writing a small zip: entries stored, dated 1980-01-01, so that equal contents give equal files. */
import { crc32 } from './crc32.ts';

/** 1980-01-01 in MS-DOS's form, the oldest date a zip can hold. */
const DATE = 0x21;
const VERSION = 20;
/** Made on Unix, by Python's zipfile as by this. */
const MADE_BY = (3 << 8) | VERSION;
const ATTRIBUTES = 0o644 << 16;

/** A zip of these contents, in their order. */
export function writeZip(contents: ReadonlyMap<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const [name, content] of contents) {
    const bytes = new TextEncoder().encode(name);
    // Version needed, flags, method, time, date, CRC, packed size, size, length of the name, length of extras:
    // the local header and the directory share these fields.
    const shared = [u16(VERSION), u16(0), u16(0), u16(0), u16(DATE), u32(crc32(content))];
    const sizes = [u32(content.length), u32(content.length), u16(bytes.length), u16(0)];
    const local = [u32(0x04034b50), ...shared, ...sizes, bytes, content];
    const tail = [u16(0), u16(0), u16(0), u32(ATTRIBUTES), u32(offset)];
    directory.push(u32(0x02014b50), u16(MADE_BY), ...shared, ...sizes, ...tail, bytes);
    pieces.push(...local);
    offset += lengthOf(local);
  }
  const count = u16(contents.size);
  const end = [u32(0x06054b50), u16(0), u16(0), count, count, u32(lengthOf(directory)), u32(offset), u16(0)];
  return join([...pieces, ...directory, ...end]);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >>> 8);
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}

function lengthOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

function join(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(lengthOf(pieces));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
