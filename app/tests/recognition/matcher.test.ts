import { describe, expect, test } from 'vitest';
import { Matcher } from '../../src/recognition/matcher.ts';
import { plainRows, type MakeRows } from '../../src/recognition/search.ts';
import { simdRows } from '../../src/recognition/search-simd.ts';
import { noise, wasm } from '../vision/sample.ts';
import { sampleGallery } from './sample.ts';

const WAYS: [string, () => Promise<MakeRows>][] = [
  ['plain', async () => plainRows],
  ['SIMD', async () => simdRows(await WebAssembly.compile(wasm('recognition/search.wasm')))],
];

describe.each(WAYS)('%s', (_, make) => {
  test('an entry is as like as the best of its vectors', async () => {
    const matcher = new Matcher(sampleGallery(), await make());
    const found = matcher.search(Float32Array.of(0.6, 0.8), 5);
    expect(found.map(({ id }) => id)).toEqual(['apple', 'pear']);
    // With (90, 90) and with (0, 127).
    expect(found[0]!.cosine).toBeCloseTo(1.4 / Math.SQRT2, 4);
    expect(found[1]).toMatchObject({ entry: 1, label: 'Birne', cosine: expect.closeTo(0.8, 4) });
  });

  test('only the best is accepted, at the threshold and with the margin', async () => {
    const accepted = async (vector: number[], changes = {}) =>
      new Matcher(sampleGallery(changes), await make())
        .search(Float32Array.from(vector), 5)
        .map((match) => match.accepted);
    expect(await accepted([1, 0])).toEqual([true, false]);
    expect(await accepted([0.6, 0.8])).toEqual([true, false]);
    expect(await accepted([0.6, 0.8], { margin: 0.3 })).toEqual([false, false]);
    expect(await accepted([-1, 0])).toEqual([false, false]);
    expect(await accepted([1, 0], { threshold: 1, margin: 0 })).toEqual([true, false]);
  });

  test('the margin holds where only the best is asked for', async () => {
    const [only] = new Matcher(sampleGallery({ margin: 0.3 }), await make()).search(Float32Array.of(0.6, 0.8), 1);
    expect(only).toMatchObject({ id: 'apple', accepted: false });
  });

  test('alone it needs no margin', async () => {
    const gallery = sampleGallery({ entries: [{ id: 'a', label: 'A', vectors: 3 }] });
    expect(new Matcher(gallery, await make()).search(Float32Array.of(1, 0), 5)).toMatchObject([{ accepted: true }]);
  });

  test('what has no length is like nothing', async () => {
    const gallery = sampleGallery({ vectors: new Int8Array(6) });
    for (const vector of [Float32Array.of(1, 0), Float32Array.of(0, 0)]) {
      for (const match of new Matcher(gallery, await make()).search(vector, 5)) {
        expect(match).toMatchObject({ cosine: 0, accepted: false });
      }
    }
  });

  test('an empty gallery has no match', async () => {
    const gallery = sampleGallery({ entries: [], vectors: new Int8Array(0) });
    expect(new Matcher(gallery, await make()).search(Float32Array.of(1, 0), 5)).toEqual([]);
  });

  test.each([1, 15, 16, 17, 100, 256])('dot products are exact in %i dimensions', async (dimensions) => {
    const vectors = new Int8Array(noise(dimensions * 5, 1).buffer, 0, dimensions * 20);
    const query = Int16Array.from(vectors.subarray(0, dimensions), (value) => value * 250);
    const expected = Array.from({ length: 20 }, (_, row) =>
      query.reduce((sum, value, index) => sum + value * vectors[row * dimensions + index]!, 0),
    );
    expect([...(await make())(vectors, dimensions).dots(query)]).toEqual(expected);
  });
});

test('entries and vectors that do not fit together are refused', () => {
  const gallery = sampleGallery({ vectors: new Int8Array(4) });
  expect(() => new Matcher(gallery, plainRows)).toThrow(expect.objectContaining({ code: 'gallery' }));
});
