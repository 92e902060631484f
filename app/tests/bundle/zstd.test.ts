import { describe, expect, test } from 'vitest';
import { Zstd } from '../../src/bundle/zstd.ts';
import { bytesOf, encode, rawFrame } from './sample.ts';

const CONTENT = encode('0123456789');

/** An RLE block says how often one byte comes: a small bomb. */
function repeated(times: number, window: number[]): Uint8Array {
  const header = 1 | (1 << 1) | (times << 3);
  return Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, ...window, header & 255, (header >> 8) & 255, header >> 16, 7);
}

/** What frames hold, at most `limit` bytes. */
function decoded(coded: Uint8Array, limit: number): Uint8Array {
  const target = new Uint8Array(limit);
  return target.subarray(0, new Zstd().decode(coded, target));
}

/** 128 KiB of window: 2^(10 + 7). */
const WINDOW = [0, 7 << 3];

function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

test('frames are decoded one after the other, skippable ones passed over', () => {
  const skippable = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
  const coded = joined(rawFrame(CONTENT), skippable, rawFrame(CONTENT), repeated(3, WINDOW));
  expect(decoded(coded, 100)).toEqual(Uint8Array.from([...CONTENT, ...CONTENT, 7, 7, 7]));
});

test('pieces may be cut anywhere', () => {
  const skippable = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
  const coded = joined(rawFrame(CONTENT), skippable, repeated(3, WINDOW));
  for (let cut = 0; cut <= coded.length; cut += 1) {
    const given: number[] = [];
    const zstd = new Zstd();
    for (const piece of [coded.subarray(0, cut), coded.subarray(cut)]) zstd.push(piece, (some) => given.push(...some));
    zstd.end();
    expect(given).toEqual([...CONTENT, 7, 7, 7]);
  }
});

test('a checksum is checked', () => {
  const frame = bytesOf('KLUv/SQKUQAAMDEyMzQ1Njc4OednGKg=');
  expect(decoded(joined(frame, rawFrame(CONTENT)), 100)).toHaveLength(20);
  frame[frame.length - 1]! ^= 1;
  expect(() => decoded(frame, 100)).toThrow('damaged');
  expect(() => decoded(frame.subarray(0, -1), 100)).toThrow('cut short');
});

test.each([131_071, 131_072, 131_073])('%i bytes are all of them, whatever a buffer holds', (size) => {
  const frame = joined(repeated(size - 10_000, WINDOW), repeated(10_000, WINDOW));
  expect(decoded(frame, size)).toHaveLength(size);
  expect(decoded(joined(frame, frame), 2 * size)).toHaveLength(2 * size);
});

test('a block that fills the buffer, and others behind it', () => {
  const frame = repeated(131_072, WINDOW);
  for (const count of [1, 2, 3]) {
    const coded = joined(...Array.from({ length: count }, () => frame));
    expect(decoded(coded, count * 131_072)).toHaveLength(count * 131_072);
  }
});

test('a frame of nothing is nothing', () => {
  expect(decoded(rawFrame(new Uint8Array(0)), 0)).toEqual(new Uint8Array(0));
});

describe('refused is', () => {
  test('more than was said', () => {
    expect(() => decoded(rawFrame(CONTENT), 9)).toThrow('more than the 9 bytes');
    expect(() => decoded(repeated(100_000, WINDOW), 99_999)).toThrow('more than the 99999 bytes');
  });

  test('a window of more than 128 MiB, before memory is taken', () => {
    // 2^(10 + 18) bytes by its descriptor, then 2^31 - 1 as the size of a single segment.
    expect(() => decoded(repeated(3, [0, 18 << 3]), 100)).toThrow('damaged');
    expect(() => decoded(repeated(3, [0xa0, 255, 255, 255, 127]), 100)).toThrow('damaged');
  });

  test('a block larger than the format allows', () => {
    expect(() => decoded(repeated(200_000, WINDOW), 300_000)).toThrow('damaged');
  });

  test('a dictionary', () => {
    expect(() => decoded(repeated(3, [1, 7 << 3, 1]), 100)).toThrow('damaged');
  });

  test.each([
    ['nothing', new Uint8Array(0)],
    ['three bytes', Uint8Array.of(0x28, 0xb5, 0x2f)],
    ['another format', encode('this is no zstd at all')],
    ['rubbish after the last frame', joined(rawFrame(CONTENT), encode('rubbish'))],
    ['a skippable frame that is cut short', Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1)],
  ])('%s', (_, coded) => {
    expect(() => decoded(coded, 100)).toThrow(expect.objectContaining({ code: 'corrupt' }));
  });

  test('every first part of a frame', () => {
    const whole = rawFrame(CONTENT);
    for (let end = 1; end < whole.length; end += 1)
      expect(() => decoded(whole.subarray(0, end), 100)).toThrow('damaged');
  });
});
