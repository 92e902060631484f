import { describe, expect, test } from 'vitest';
import { writeZip } from '../../src/bundle/zip-writer.ts';
import { readDirectory, unzip } from '../../src/bundle/zip.ts';
import { readGallery, writeGallery } from '../../src/recognition/gallery-file.ts';
import type { GalleryFile } from '../../src/recognition/gallery.ts';
import { sampleGallery } from './sample.ts';

async function written(): Promise<Uint8Array<ArrayBuffer>> {
  return writeGallery(sampleGallery());
}

/** The sample's file with its description changed, or its vectors. */
async function changed(change: (description: any) => void, vectors?: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const entries = await readDirectory(new Blob([await written()]));
  const description = JSON.parse(new TextDecoder().decode(await unzip(entries.get('gallery.json')!)));
  change(description);
  return writeZip(
    new Map([
      ['gallery.json', new TextEncoder().encode(JSON.stringify(description))],
      ['vectors.bin', vectors ?? (await unzip(entries.get('vectors.bin')!))],
    ]),
  ).buffer;
}

test('what was written is read, and written again is the same', async () => {
  const gallery = await readGallery((await written()).buffer);
  expect(gallery).toEqual(sampleGallery());
  expect(await writeGallery(gallery)).toEqual(await written());
});

test('what was never measured stays so', async () => {
  const gallery = sampleGallery({ false_accept_rate: null });
  expect(await readGallery((await writeGallery(gallery)).buffer)).toEqual(gallery);
});

test.each<[string, Partial<GalleryFile>]>([
  ['an empty one', { entries: [], vectors: new Int8Array(0) }],
  ['a vector too few', { vectors: Int8Array.of(127, 0, 90, 90) }],
  ['a blank name', { name: '  ' }],
  ['a vector that points nowhere', { vectors: Int8Array.of(127, 0, 0, 0, 0, 127) }],
])('%s is not written', async (_, changes) => {
  await expect(writeGallery(sampleGallery(changes))).rejects.toMatchObject({ code: 'gallery' });
});

test('a newer one is newer', async () => {
  const file = await changed((description) => (description.schema_version = 2));
  await expect(readGallery(file)).rejects.toMatchObject({ code: 'newer' });
});

describe('refused is', () => {
  test.each<[string, (description: any) => void]>([
    ['an unknown field', (description) => (description.extra = 1)],
    ['a missing field', (description) => delete description.margin],
    ['another kind', (description) => (description.kind = 'people')],
    ['a threshold above 1', (description) => (description.threshold = 1.1)],
    ['a negative margin', (description) => (description.margin = -0.1)],
    ['a rate above 1', (description) => (description.false_accept_rate = 2)],
    ['an id twice', (description) => (description.entries[1].id = 'apple')],
    ['an entry without vectors', (description) => (description.entries[0].vectors = 0)],
    ['another number of vectors', (description) => (description.entries[0].vectors = 3)],
    ['another number of dimensions', (description) => (description.backbone.dimensions = 3)],
    ['no fingerprint', (description) => (description.backbone.fingerprint = 'lite0')],
    ['another hash', (description) => (description.vectors_sha256 = '0'.repeat(64))],
    ['a label of 201 letters', (description) => (description.entries[0].label = 'a'.repeat(201))],
    ['a control character', (description) => (description.entries[0].label = 'a\u0007')],
  ])('%s', async (_, change) => {
    await expect(readGallery(await changed(change))).rejects.toMatchObject({ code: 'gallery' });
  });

  test('a bundle, a picture, nothing', async () => {
    const bundle = writeZip(new Map([['manifest.json', new Uint8Array(2)]]));
    await expect(readGallery(bundle.buffer)).rejects.toThrow('a zip of manifest.json');
    await expect(readGallery(Uint8Array.of(0xff, 0xd8, 0xff).buffer)).rejects.toMatchObject({ code: 'gallery' });
    await expect(readGallery(new ArrayBuffer(0))).rejects.toMatchObject({ code: 'gallery' });
  });
});
