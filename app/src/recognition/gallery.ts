/** Galleries: things known by example. docs/gallery.md is the file's format. */

export interface GalleryEntry {
  id: string;
  label: string;
  /** How many of `vectors` are its own; they lie together, in the order of the entries. */
  vectors: number;
}

export interface GalleryFile {
  schema_version: 1;
  name: string;
  kind: 'products' | 'landmarks';
  created: string;
  created_with: string;
  /** The bundle whose embeddings these are. */
  backbone: { name: string; fingerprint: string; dimensions: number };
  /** A match is one whose cosine is at least this ... */
  threshold: number;
  /** ... and exceeds that of the best other entry by at least this. */
  margin: number;
  /** Share of unseen things that `threshold` and `margin` let through where they were set; null when never measured. */
  false_accept_rate: number | null;
  entries: GalleryEntry[];
  /** (sum of entries' vectors, dimensions): unit vectors times 127, rounded. */
  vectors: Int8Array;
}

export interface Match {
  entry: number;
  id: string;
  label: string;
  cosine: number;
  /** Whether threshold and margin accept it. */
  accepted: boolean;
}
