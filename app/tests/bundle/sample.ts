/** A bundle small enough to change by hand. */
import { readFileSync } from 'node:fs';
import { sha256 } from '../../src/bundle/digest.ts';
import { writeZip } from '../../src/bundle/zip-writer.ts';

export const encode = (text: string) => new TextEncoder().encode(text);

/** One zstd frame of one raw block; its window is its content. */
export function rawFrame(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = new Uint8Array(new Uint32Array([content.length]).buffer);
  const header = 1 | (content.length << 3);
  return Uint8Array.of(
    0x28,
    0xb5,
    0x2f,
    0xfd,
    0xa0,
    ...size,
    header & 255,
    (header >> 8) & 255,
    header >> 16,
    ...content,
  );
}

export const MEMBERS: Record<string, Uint8Array<ArrayBuffer>> = {
  'graphs/float.onnx': encode('a graph'),
  'weights.bin': Uint8Array.from({ length: 300 }, (_, index) => index % 7),
};

/** The manifest that fits `members`. Those whose names end in .bin are coded with zstd. */
export async function manifestOf(members: Record<string, Uint8Array<ArrayBuffer>> = MEMBERS) {
  const listed = await Promise.all(
    Object.entries(members).map(async ([path, content]) => {
      const zstd = path.endsWith('.bin');
      const stored_size = zstd ? rawFrame(content).length : content.length;
      return [
        path,
        { size: content.length, sha256: await sha256(content), codec: zstd ? 'zstd' : 'none', stored_size },
      ] as const;
    }),
  );
  const lines = [...listed].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, { sha256 }]) => `${sha256}  ${path}\n`);
  return {
    schema_version: 2,
    created_with: 'pocketlens 0.1.0',
    created: '2026-11-24T15:00:00+00:00',
    spec: {
      name: 'colours',
      task: 'classification',
      input_shape: [3, 8, 8],
      preprocessing: { resize: 8, crop: [8, 8], interpolation: 'bilinear', mean: [0, 0, 0], std: [255, 255, 255] },
      class_ids: ['c0', 'c1', 'c2'],
      labels: ['red', 'green', 'blue'],
    },
    graphs: [
      {
        name: 'float',
        graph: 'graphs/float.onnx',
        weights: 'weights.bin',
        session: { 'session.disable_quant_qdq': '1' },
        parameters: 9,
        macs: 9,
        measurement: {},
      },
    ],
    preferred: 'float',
    confidence: { temperature: 1.5, unknown_below: null },
    embedding: null,
    recipe: {},
    baseline: {},
    target: {},
    members: Object.fromEntries(listed),
    fingerprint: await sha256(encode(lines.join(''))),
  };
}

/** The entries of a bundle's zip, to be changed and written. */
export async function entriesOf(
  manifest: unknown,
  members: Record<string, Uint8Array<ArrayBuffer>> = MEMBERS,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const entries = new Map([['manifest.json', encode(JSON.stringify(manifest))]]);
  for (const [path, content] of Object.entries(members)) {
    if (path.endsWith('.bin')) entries.set(`${path}.zst`, rawFrame(content));
    else entries.set(path, content);
  }
  return entries;
}

/** A zip of these as a file. */
export function fileOf(entries: ReadonlyMap<string, Uint8Array>): Blob {
  return new Blob([writeZip(entries)]);
}

/** A whole bundle. */
export async function sampleBundle(): Promise<Blob> {
  return fileOf(await entriesOf(await manifestOf()));
}

interface Vectors {
  limit: number;
  good: { name: string; coded: string; blob: string }[];
  bad: { name: string; coded: string }[];
}

/** Streams of records that Python's decoder is held against, too. */
export const VECTORS = JSON.parse(
  readFileSync(new URL('../../../tests/bundle/vectors.json', import.meta.url), 'utf8'),
) as Vectors;

/** Base64 undone. */
export const bytesOf = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(text, 'base64'));

/** A whole bundle whose weights are records of every kind. */
export async function everyKindBundle(): Promise<Uint8Array<ArrayBuffer>> {
  const { coded, blob } = VECTORS.good.find(({ name }) => name === 'one after the other')!;
  const members = { ...MEMBERS, 'weights.bin': bytesOf(blob) };
  const manifest = await manifestOf(members);
  Object.assign(manifest.members['weights.bin']!, { codec: 'tensors', stored_size: bytesOf(coded).length });
  const entries = await entriesOf(manifest, members);
  entries.delete('weights.bin.zst');
  entries.set('weights.bin.plt', bytesOf(coded));
  return writeZip(entries);
}
