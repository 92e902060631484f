import { describe, expect, test } from 'vitest';
import { Content } from '../../src/bundle/content.ts';
import { decodeRecords, RecordDecoder } from '../../src/bundle/records.ts';
import { bytesOf, VECTORS } from './sample.ts';

/** As `decodeRecords`, of a stream that arrives in these pieces. */
function decodePieces(pieces: Uint8Array[], limit: number): Uint8Array {
  const blob = new Content(limit);
  const decoder = new RecordDecoder(blob);
  for (const piece of pieces) decoder.push(piece);
  decoder.end();
  return blob.take();
}

describe.each(VECTORS.good)('$name', ({ coded, blob }) => {
  const whole = bytesOf(coded);

  test('is decoded', () => {
    expect(decodeRecords(whole, VECTORS.limit)).toEqual(bytesOf(blob));
    expect(decodeRecords(whole, bytesOf(blob).length)).toEqual(bytesOf(blob));
  });

  test('is the same wherever it is cut', () => {
    const wanted = Buffer.from(blob, 'base64');
    for (let cut = 0; cut <= whole.length; cut += 1) {
      const got = decodePieces([whole.subarray(0, cut), whole.subarray(cut)], VECTORS.limit);
      expect(wanted.equals(got)).toBe(true);
    }
    for (const length of [1, 2, 3, 5, 7, 64]) {
      const pieces = Array.from({ length: Math.ceil(whole.length / length) }, (_, index) =>
        whole.subarray(index * length, (index + 1) * length),
      );
      expect(wanted.equals(decodePieces(pieces, VECTORS.limit))).toBe(true);
    }
  });

  test('cut short at any byte gives an error or fewer bytes', () => {
    for (let end = 0; end < whole.length; end += 1) {
      let content = new Uint8Array(0);
      try {
        content = decodeRecords(whole.subarray(0, end), VECTORS.limit);
      } catch (error) {
        expect(error).toMatchObject({ code: 'corrupt' });
      }
      expect(content.length).toBeLessThanOrEqual(bytesOf(blob).length);
    }
  });
});

describe.each(VECTORS.bad)('refused is $name', ({ name, coded }) => {
  const code = name === 'a later version' ? 'newer' : 'corrupt';
  const whole = bytesOf(coded);

  test('at once', () => {
    expect(() => decodeRecords(whole, VECTORS.limit)).toThrow(expect.objectContaining({ code }));
  });

  test('byte for byte', () => {
    const pieces = Array.from(whole, (byte) => Uint8Array.of(byte));
    expect(() => decodePieces(pieces, VECTORS.limit)).toThrow(expect.objectContaining({ code }));
  });
});

test('a product is rounded once, to the nearest, of two to the even one', () => {
  const bits = new Uint32Array(3000);
  for (let index = 0, state = 1; index < bits.length; index += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // Exponents below 200, so that no product is beyond the largest float.
    bits[index] = (state & 0x80ffffff) | ((state % 200) << 23);
  }
  const values = new Float32Array(bits.buffer);
  const factor = Math.fround(-2.7182818);
  const record = (kind: number, payload: Uint8Array) =>
    Buffer.concat([Uint8Array.of(kind, ...number(4 * values.length), ...number(payload.length)), payload]);
  const coded = Buffer.concat([
    Buffer.from('PLT1'),
    record(1, new Uint8Array(values.buffer)),
    record(6, Uint8Array.of(0, ...new Uint8Array(Float32Array.of(factor).buffer))),
  ]);
  const blob = decodeRecords(coded, 8 * values.length);
  const products = new Float32Array(blob.buffer, 4 * values.length);
  expect([...products]).toEqual([...values].map((value) => Math.fround(value * factor)));
});

/** LEB128. */
function number(value: number): number[] {
  return value > 127 ? [(value & 127) | 128, ...number(Math.floor(value / 128))] : [value];
}
