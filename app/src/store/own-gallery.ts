/** Galleries that a person made or imported, as they are kept. */
import type { GalleryFile } from '../recognition/gallery.ts';

/** A kept gallery: the file's content under a key of its own. */
export interface OwnGallery {
  id: string;
  /** Taught on this phone, or imported from a file. */
  origin: 'taught' | 'imported';
  file: GalleryFile;
}

/** Where nothing was measured: the guess that `pocketlens gallery build` makes too, see docs/gallery.md. */
export const DEFAULT_THRESHOLD = 0.5;
export const DEFAULT_MARGIN = 0.05;

type Backbone = GalleryFile['backbone'];

/** An empty gallery of one kind, for one model. */
export function emptyGallery(kind: GalleryFile['kind'], name: string, backbone: Backbone): GalleryFile {
  return {
    schema_version: 1,
    name,
    kind,
    created: new Date().toISOString(),
    created_with: 'pocketlens app',
    backbone,
    threshold: DEFAULT_THRESHOLD,
    margin: DEFAULT_MARGIN,
    false_accept_rate: null,
    entries: [],
    vectors: new Int8Array(0),
  };
}

/** `file` with one more entry at its end. `vectors` is (shots, dimensions), quantized. */
export function withEntry(file: GalleryFile, label: string, shots: readonly Int8Array[]): GalleryFile {
  const vectors = new Int8Array(file.vectors.length + shots.length * file.backbone.dimensions);
  vectors.set(file.vectors);
  shots.forEach((shot, index) => vectors.set(shot, file.vectors.length + index * file.backbone.dimensions));
  const entry = { id: crypto.randomUUID(), label, vectors: shots.length };
  return { ...file, entries: [...file.entries, entry], vectors };
}

/** `file` without the entry `id`. */
export function withoutEntry(file: GalleryFile, id: string): GalleryFile {
  const { dimensions } = file.backbone;
  let at = 0;
  const parts: Int8Array[] = [];
  for (const entry of file.entries) {
    const length = entry.vectors * dimensions;
    if (entry.id !== id) parts.push(file.vectors.subarray(at, at + length));
    at += length;
  }
  return { ...file, entries: file.entries.filter((entry) => entry.id !== id), vectors: join(parts) };
}

/** `file` with the entry `id` called `label`. */
export function withLabel(file: GalleryFile, id: string, label: string): GalleryFile {
  return { ...file, entries: file.entries.map((entry) => (entry.id === id ? { ...entry, label } : entry)) };
}

/**
 * Several galleries of one model as one to search. What was measured wins over defaults, the stricter of two
 * measurements over the other. Returns null of none.
 */
export function joined(files: readonly GalleryFile[]): GalleryFile | null {
  const [first] = files;
  if (!first) return null;
  const measured = files.filter((file) => file.false_accept_rate !== null);
  const bounds = measured.length > 0 ? measured : files;
  return {
    ...first,
    threshold: Math.max(...bounds.map((file) => file.threshold)),
    margin: Math.max(...bounds.map((file) => file.margin)),
    entries: files.flatMap((file) => file.entries),
    vectors: join(files.map((file) => file.vectors)),
  };
}

function join(parts: readonly Int8Array[]): Int8Array {
  const whole = new Int8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
