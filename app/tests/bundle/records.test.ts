import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeRecords } from '../../src/bundle/records.ts';

interface Vectors {
  limit: number;
  good: { name: string; coded: string; blob: string }[];
  bad: { name: string; coded: string }[];
}

/** The vectors that Python's decoder is held against, too. */
const FILE = new URL('../../../tests/bundle/vectors.json', import.meta.url);
const VECTORS = JSON.parse(readFileSync(FILE, 'utf8')) as Vectors;

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'base64'));

describe.each(VECTORS.good)('$name', ({ coded, blob }) => {
  test('is decoded', () => {
    expect(decodeRecords(bytes(coded), VECTORS.limit)).toEqual(bytes(blob));
    expect(decodeRecords(bytes(coded), bytes(blob).length)).toEqual(bytes(blob));
  });

  test('cut short at any byte gives an error or fewer bytes', () => {
    const whole = bytes(coded);
    for (let end = 0; end < whole.length; end += 1) {
      let content = new Uint8Array(0);
      try {
        content = decodeRecords(whole.subarray(0, end), VECTORS.limit);
      } catch (error) {
        expect(error).toMatchObject({ code: 'corrupt' });
      }
      expect(content.length).toBeLessThanOrEqual(bytes(blob).length);
    }
  });
});

test.each(VECTORS.bad)('refused is $name', ({ name, coded }) => {
  const code = name === 'a later version' ? 'newer' : 'corrupt';
  expect(() => decodeRecords(bytes(coded), VECTORS.limit)).toThrow(expect.objectContaining({ code }));
});
