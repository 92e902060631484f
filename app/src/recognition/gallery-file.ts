/** The .gallery file: a zip of gallery.json and vectors.bin, read as if a stranger had made it. docs/gallery.md. */
import { sha256 } from '../bundle/digest.ts';
import { Fields } from '../bundle/fields.ts';
import { parseStrict } from '../bundle/strict-json.ts';
import { writeZip } from '../bundle/zip-writer.ts';
import { readDirectory, unzip } from '../bundle/zip.ts';
import { FailureError } from '../failure.ts';
import type { GalleryEntry, GalleryFile } from './gallery.ts';

const DESCRIPTION = 'gallery.json';
const VECTORS = 'vectors.bin';
const SCHEMA_VERSION = 1;

const MAX_DESCRIPTION_BYTES = 16 * 1024 ** 2;
const MAX_VECTORS = 200_000;
const MAX_DIMENSIONS = 256;
const MAX_TEXT = 200;

/**
 * Read a gallery.
 *
 * @throws FailureError: "newer" for a later schema, else "gallery", naming what is wrong.
 */
export async function readGallery(file: ArrayBuffer): Promise<GalleryFile> {
  try {
    return await read(new Blob([file]));
  } catch (thrown) {
    if (!(thrown instanceof FailureError) || thrown.code !== 'corrupt') throw thrown;
    throw new FailureError('gallery', `the gallery is damaged: ${thrown.message}`, { cause: thrown });
  }
}

/**
 * A gallery as a file; equal galleries give equal bytes.
 *
 * @throws FailureError "gallery" when it holds what a reader would refuse: an empty one is none.
 */
export async function writeGallery(gallery: GalleryFile): Promise<Uint8Array<ArrayBuffer>> {
  const { vectors, ...description } = gallery;
  const bytes = Uint8Array.from(vectors, (value) => value & 0xff);
  const content = { ...description, vectors_sha256: await sha256(bytes) };
  const file = writeZip(
    new Map([
      [DESCRIPTION, new TextEncoder().encode(JSON.stringify(content))],
      [VECTORS, bytes],
    ]),
  );
  await readGallery(file.buffer);
  return file;
}

async function read(file: Blob): Promise<GalleryFile> {
  const entries = await readDirectory(file);
  const description = entries.get(DESCRIPTION);
  const vectors = entries.get(VECTORS);
  if (!description || !vectors || entries.size !== 2) {
    const names = [...entries.keys()].slice(0, 5).join(', ') || 'nothing';
    throw new FailureError('gallery', `expected a gallery (${DESCRIPTION} and ${VECTORS}), got a zip of ${names}`);
  }
  if (description.size > MAX_DESCRIPTION_BYTES) {
    throw new FailureError(
      'gallery',
      `${DESCRIPTION} unpacks to ${description.size} bytes, at most ${MAX_DESCRIPTION_BYTES} are allowed`,
    );
  }
  const { hash, ...about } = readDescription(new Fields(parseStrict(await unzip(description)), DESCRIPTION));
  const count = about.entries.reduce((sum, entry) => sum + entry.vectors, 0);
  if (count > MAX_VECTORS) {
    throw new FailureError('gallery', `expected at most ${MAX_VECTORS} vectors, got ${count}; split the gallery`);
  }
  const length = count * about.backbone.dimensions;
  if (vectors.size !== length) {
    throw new FailureError('gallery', `expected ${length} bytes for ${count} vectors, got ${vectors.size}`);
  }
  const content = await unzip(vectors);
  if ((await sha256(content)) !== hash) throw new FailureError('gallery', 'the vectors are not those it was made with');
  const values = new Int8Array(content.slice().buffer);
  for (let row = 0; row < count; row += 1) {
    const { dimensions } = about.backbone;
    if (values.subarray(row * dimensions, (row + 1) * dimensions).every((value) => value === 0)) {
      throw new FailureError('gallery', `vector ${row} is all zeros, which points nowhere; build the gallery again`);
    }
  }
  return { ...about, vectors: values };
}

function readDescription(fields: Fields): Omit<GalleryFile, 'vectors'> & { hash: string } {
  const version = fields.integer('schema_version', 1, 10 ** 6);
  if (version > SCHEMA_VERSION) {
    const reads = `this app reads ${SCHEMA_VERSION}`;
    throw new FailureError('newer', `a gallery of a newer pocketlens (schema ${version}, ${reads}); update the app`);
  }
  const about = {
    schema_version: SCHEMA_VERSION as 1,
    name: readName(fields, 'name'),
    kind: fields.choice('kind', ['products', 'landmarks']),
    created: fields.date('created'),
    created_with: fields.text('created_with'),
    backbone: readBackbone(fields.child('backbone')),
    threshold: fields.numberWithin('threshold', -1, 1),
    margin: fields.numberWithin('margin', 0, 2),
    false_accept_rate: fields.optionalNumber('false_accept_rate'),
    entries: fields.children('entries').map(readEntry),
    hash: fields.sha256('vectors_sha256'),
  };
  fields.done();
  const rate = about.false_accept_rate;
  if (rate !== null && !(rate >= 0 && rate <= 1)) throw fields.refusal(`false_accept_rate: expected 0..1, got ${rate}`);
  if (about.entries.length === 0) throw fields.refusal('entries: expected at least one, got none');
  if (new Set(about.entries.map(({ id }) => id)).size !== about.entries.length) {
    throw fields.refusal('entries: expected ids that differ, got one twice');
  }
  return about;
}

function readBackbone(fields: Fields): GalleryFile['backbone'] {
  const backbone = {
    name: fields.text('name'),
    fingerprint: fields.sha256('fingerprint'),
    dimensions: fields.integer('dimensions', 1, MAX_DIMENSIONS),
  };
  fields.done();
  return backbone;
}

function readEntry(fields: Fields): GalleryEntry {
  const entry = {
    id: readName(fields, 'id'),
    label: readName(fields, 'label'),
    vectors: fields.integer('vectors', 1, MAX_VECTORS),
  };
  fields.done();
  return entry;
}

/** A text that people can see. */
function readName(fields: Fields, name: string): string {
  const text = fields.text(name);
  if (text.trim() === '' || [...text].length > MAX_TEXT) {
    throw fields.refusal(`${name}: expected a text of 1 to ${MAX_TEXT} characters, got ${[...text].length}`);
  }
  return text;
}
