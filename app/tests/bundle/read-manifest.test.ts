import { describe, expect, test } from 'vitest';
import { readManifest } from '../../src/bundle/read-manifest.ts';
import { manifestOf } from './sample.ts';

/** The sample's manifest with the value at a path of keys replaced, or removed where it is undefined. */
async function changed(path: (string | number)[], value: unknown): Promise<unknown> {
  const manifest = await manifestOf();
  let place = manifest as unknown as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) place = place[key] as Record<string | number, unknown>;
  const last = path.at(-1)!;
  if (value === undefined) delete place[last];
  else place[last] = value;
  return manifest;
}

test('a manifest is read as it is, without what is free', async () => {
  const { recipe: _, baseline: __, target: ___, ...expected } = await manifestOf();
  expect(await readManifest(await manifestOf())).toEqual(expected);
});

test('schema 1 knows neither confidence nor embedding', async () => {
  const { confidence, embedding, ...old } = await manifestOf();
  const manifest = await readManifest({ ...old, schema_version: 1 });
  expect(manifest.confidence).toEqual({ temperature: 1, unknown_below: null });
  expect(manifest.embedding).toBeNull();
  await expect(readManifest({ ...old, schema_version: 1, confidence })).rejects.toThrow('confidence');
  await expect(readManifest({ ...old, schema_version: 1, embedding })).rejects.toThrow('embedding');
});

test('a newer schema is newer, whatever else it holds', async () => {
  await expect(readManifest({ schema_version: 3, anything: [] })).rejects.toMatchObject({ code: 'newer' });
});

test('a codec of a later writer is unsupported', async () => {
  const manifest = await changed(['members', 'weights.bin', 'codec'], 'brotli');
  await expect(readManifest(manifest)).rejects.toMatchObject({ code: 'unsupported' });
});

test('a member may be called __proto__', async () => {
  const manifest = await manifestOf({
    ['__proto__']: new Uint8Array(3),
    'graphs/float.onnx': new Uint8Array(1),
    'weights.bin': new Uint8Array(1),
  });
  expect(Object.keys((await readManifest(JSON.parse(JSON.stringify(manifest)))).members)).toHaveLength(3);
});

describe('refused is', () => {
  test.each<[string, (string | number)[], unknown]>([
    ['a whole of another kind', [], null],
    ['an unknown field', ['extra'], 1],
    ['a missing field', ['created'], undefined],
    ['no date', ['created'], 'yesterday'],
    ['a day that is none', ['created'], '2026-99-24'],
    ['a control character', ['created_with'], 'a\u001b[31m'],
    ['a lone surrogate', ['spec', 'labels', 0], '\ud800'],
    ['a schema that is no number', ['schema_version'], '2'],
    ['schema 0', ['schema_version'], 0],
    ['no graph', ['graphs'], []],
    ['a preferred graph that is not there', ['preferred'], 'int8'],
    ['a graph of an unsafe name', ['graphs', 0, 'name'], '../x'],
    ['a graph that is no member', ['graphs', 0, 'graph'], 'constructor'],
    ['weights that are no member', ['graphs', 0, 'weights'], 'toString'],
    ['an option that touches files', ['graphs', 0, 'session'], { 'session.optimized_model_filepath': '/x' }],
    ['an option that is no text', ['graphs', 0, 'session'], { 'session.disable_quant_qdq': 1 }],
    ['half a parameter', ['graphs', 0, 'parameters'], 0.5],
    ['a crop that is not the input', ['spec', 'preprocessing', 'crop'], [8, 9]],
    ['a resize below the crop', ['spec', 'preprocessing', 'resize'], 7],
    ['an unknown interpolation', ['spec', 'preprocessing', 'interpolation'], 'lanczos'],
    ['a std of 0', ['spec', 'preprocessing', 'std'], [1, 0, 1]],
    ['two means', ['spec', 'preprocessing', 'mean'], [0, 0]],
    ['a mean that is no number', ['spec', 'preprocessing', 'mean'], [0, null, 0]],
    ['labels that are not as many', ['spec', 'labels'], ['red']],
    ['a temperature of 0', ['confidence', 'temperature'], 0],
    ['a bound that is no number', ['confidence', 'unknown_below'], '7'],
    ['an embedding without its whitening', ['embedding'], { features: 4, dimensions: 2, whitening: 'no.bin' }],
    ['a whitening of another size', ['embedding'], { features: 4, dimensions: 2, whitening: 'weights.bin' }],
    ['more dimensions than features', ['embedding'], { features: 2, dimensions: 4, whitening: 'weights.bin' }],
    ['a size above 2 GiB', ['members', 'weights.bin', 'size'], 2 ** 31 + 1],
    ['a negative size', ['members', 'weights.bin', 'size'], -1],
    ['a hash in capitals', ['members', 'weights.bin', 'sha256'], 'A'.repeat(64)],
    ['a stored size without a codec', ['members', 'graphs/float.onnx', 'stored_size'], 1],
    ['another fingerprint', ['fingerprint'], '0'.repeat(64)],
    ['an unsafe path', ['members', '../x'], { size: 0, sha256: '0'.repeat(64), codec: 'none', stored_size: 0 }],
    [
      'paths that differ in case',
      ['members', 'WEIGHTS.bin'],
      { size: 0, sha256: '0'.repeat(64), codec: 'zstd', stored_size: 0 },
    ],
    [
      "a member of the manifest's name",
      ['members', 'manifest.json'],
      { size: 0, sha256: '0'.repeat(64), codec: 'none', stored_size: 0 },
    ],
  ])('%s', async (_, path, value) => {
    const manifest = path.length ? await changed(path, value) : value;
    await expect(readManifest(manifest)).rejects.toMatchObject({ code: 'corrupt' });
  });
});
