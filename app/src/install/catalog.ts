/** What a site holds besides the app itself: `catalog.json`, written by `pocketlens app`. */

/** A large file that is fetched in parts, resumed, checked and kept; `path` is relative to the site's root. */
export interface SiteFile {
  path: string;
  size: number;
  sha256: string;
}

export interface ModelEntry extends SiteFile {
  id: string;
  name: string;
  task: string;
  fingerprint: string;
  classes: number;
  dimensions: number;
  input: [number, number];
}

export interface GalleryEntry extends SiteFile {
  id: string;
  name: string;
  kind: 'products' | 'landmarks';
  /** Of the bundle it belongs to. */
  fingerprint: string;
  entries: number;
}

export interface RuntimeEntry extends SiteFile {
  provider: 'wasm' | 'webgpu';
  /** The runtime's .mjs, relative to the site's root. */
  glue: string;
}

export interface Catalog {
  schema_version: 1;
  title: string;
  /** Changes whenever anything of the site does; sw.js holds it too, so that it changes with it. */
  version: string;
  models: ModelEntry[];
  galleries: GalleryEntry[];
  runtimes: RuntimeEntry[];
}
