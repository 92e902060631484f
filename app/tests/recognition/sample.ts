/** A gallery small enough to work out by hand. */
import type { GalleryFile } from '../../src/recognition/gallery.ts';

export function sampleGallery(changes: Partial<GalleryFile> = {}): GalleryFile {
  return {
    schema_version: 1,
    name: 'fruit',
    kind: 'products',
    created: '2026-11-24T15:00:00+00:00',
    created_with: 'pocketlens 0.1.0',
    backbone: { name: 'lite0', fingerprint: 'a'.repeat(64), dimensions: 2 },
    threshold: 0.5,
    margin: 0.1,
    false_accept_rate: 0.05,
    entries: [
      { id: 'apple', label: 'Apple', vectors: 2 },
      { id: 'pear', label: 'Birne', vectors: 1 },
    ],
    vectors: Int8Array.of(127, 0, 90, 90, 0, 127),
    ...changes,
  };
}
