import { describe, expect, test } from 'vitest';
import { openBundle } from '../../src/bundle/open.ts';
import { encode, entriesOf, fileOf, manifestOf, MEMBERS, rawFrame, sampleBundle } from './sample.ts';

test('a graph comes with its weights and options', async () => {
  const bundle = await openBundle(await sampleBundle());
  expect(bundle.manifest.spec.name).toBe('colours');
  expect(await bundle.graph('float')).toEqual({
    graph: MEMBERS['graphs/float.onnx'],
    weights: MEMBERS['weights.bin'],
    session: { 'session.disable_quant_qdq': '1' },
  });
});

test('weights that are inside come as nothing, so that the runtime looks nowhere else', async () => {
  const manifest = await manifestOf();
  manifest.graphs[0]!.weights = null as unknown as string;
  const bundle = await openBundle(fileOf(await entriesOf(manifest)));
  expect((await bundle.graph('float')).weights).toHaveLength(0);
});

test('a graph that is not there is unsupported, a member that is not there an error', async () => {
  const bundle = await openBundle(await sampleBundle());
  await expect(bundle.graph('half')).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('float'),
  });
  await expect(bundle.read('constructor')).rejects.toMatchObject({ code: 'corrupt' });
});

describe('refused is', () => {
  const opening = async (change: (entries: Map<string, Uint8Array<ArrayBuffer>>) => void, read?: string) => {
    const entries = await entriesOf(await manifestOf());
    change(entries);
    const bundle = await openBundle(fileOf(entries));
    if (read) await bundle.read(read);
  };

  test.each<[string, (entries: Map<string, Uint8Array<ArrayBuffer>>) => void, string]>([
    ['a zip without a manifest', (entries) => entries.delete('manifest.json'), 'no manifest.json'],
    ['a manifest that is no JSON', (entries) => entries.set('manifest.json', encode('{')), 'no valid JSON'],
    ['a member too many', (entries) => entries.set('extra', encode('x')), 'does not name'],
    ['a member too few', (entries) => entries.delete('weights.bin.zst'), 'missing'],
    ['a member of another size', (entries) => entries.set('graphs/float.onnx', encode('x')), '1 bytes in the zip'],
  ])('%s', async (_, change, message) => {
    await expect(opening(change)).rejects.toMatchObject({ code: 'corrupt', message: expect.stringContaining(message) });
  });

  test('another content, on reading', async () => {
    const change = (entries: Map<string, Uint8Array<ArrayBuffer>>) =>
      entries.set('graphs/float.onnx', encode('A graph'));
    await expect(opening(change, 'graphs/float.onnx')).rejects.toThrow('SHA-256');
  });

  test('weights that unpack to more or less than they say, on reading', async () => {
    for (const size of [299, 301]) {
      const manifest = await manifestOf();
      (manifest.members['weights.bin'] as { size: number }).size = size;
      const bundle = await openBundle(fileOf(await entriesOf(manifest)));
      await expect(bundle.read('weights.bin')).rejects.toThrow(`${size}`);
    }
  });

  test('rubbish for weights, on reading', async () => {
    const frame = rawFrame(MEMBERS['weights.bin']!);
    const change = (entries: Map<string, Uint8Array<ArrayBuffer>>) =>
      entries.set(
        'weights.bin.zst',
        frame.map((byte, index) => (index < 4 ? 0 : byte)),
      );
    await expect(opening(change, 'weights.bin')).rejects.toThrow('member weights.bin: its zstd data is damaged');
  });

  test('a file that is empty, a page, or the first part of a bundle', async () => {
    for (const file of [new Blob([]), new Blob([encode('<html>')]), (await sampleBundle()).slice(0, 500)]) {
      await expect(openBundle(file)).rejects.toMatchObject({ code: 'corrupt' });
    }
  });
});
