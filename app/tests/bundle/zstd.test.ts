import { describe, expect, test } from 'vitest';
import { unzstd } from '../../src/bundle/zstd.ts';
import { encode, rawFrame } from './sample.ts';

const CONTENT = encode('0123456789');

/** An RLE block says how often one byte comes: a small bomb. */
function repeated(times: number, window: number[]): Uint8Array {
  const header = 1 | (1 << 1) | (times << 3);
  return Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, ...window, header & 255, (header >> 8) & 255, header >> 16, 7);
}

/** 128 KiB of window: 2^(10 + 7). */
const WINDOW = [0, 7 << 3];

function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

test('frames are decoded one after the other, skippable ones passed over', () => {
  const skippable = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
  const coded = joined(rawFrame(CONTENT), skippable, rawFrame(CONTENT), repeated(3, WINDOW));
  expect(unzstd(coded, 100)).toEqual(Uint8Array.from([...CONTENT, ...CONTENT, 7, 7, 7]));
});

test('a frame of nothing is nothing', () => {
  expect(unzstd(rawFrame(new Uint8Array(0)), 0)).toEqual(new Uint8Array(0));
});

describe('refused is', () => {
  test('more than was said', () => {
    expect(() => unzstd(rawFrame(CONTENT), 9)).toThrow('more than the 9 bytes');
    expect(() => unzstd(repeated(100_000, WINDOW), 99_999)).toThrow('more than the 99999 bytes');
  });

  test('a window of more than 128 MiB, before memory is taken', () => {
    // 2^(10 + 18) bytes by its descriptor, then 2^31 - 1 as the size of a single segment.
    expect(() => unzstd(repeated(3, [0, 18 << 3]), 100)).toThrow('window of 268435456 bytes');
    expect(() => unzstd(repeated(3, [0xa0, 255, 255, 255, 127]), 100)).toThrow('window of 2147483647 bytes');
  });

  test('a block larger than the format allows', () => {
    expect(() => unzstd(repeated(200_000, WINDOW), 1e9)).toThrow('too large');
  });

  test('a dictionary', () => {
    expect(() => unzstd(repeated(3, [1, 7 << 3, 1]), 100)).toThrow('dictionary');
  });

  test.each([
    ['nothing', new Uint8Array(0)],
    ['three bytes', Uint8Array.of(0x28, 0xb5, 0x2f)],
    ['another format', encode('this is no zstd at all')],
    ['rubbish after the last frame', joined(rawFrame(CONTENT), encode('rubbish'))],
    ['a skippable frame that is cut short', Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1)],
  ])('%s', (_, coded) => {
    expect(() => unzstd(coded, 100)).toThrow(expect.objectContaining({ code: 'corrupt' }));
  });

  test('every first part of a frame', () => {
    const whole = rawFrame(CONTENT);
    for (let end = 1; end < whole.length; end += 1)
      expect(() => unzstd(whole.subarray(0, end), 100)).toThrow('damaged');
  });
});
