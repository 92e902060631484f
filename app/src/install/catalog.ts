/** What a site holds besides the app itself: `catalog.json`, written by `pocketlens app`. */

/** A large file that is fetched in parts, resumed, checked and kept; `path` is relative to the site's root. */
export interface SiteFile {
  path: string;
  /** Bytes of the file as it lies on the host, and what its SHA-256 is of. */
  size: number;
  sha256: string;
  /** Set where the content was packed, so that every host sends few bytes; `Installer.read` unpacks it. */
  encoding?: 'gzip';
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

/** Why a catalog cannot be used. "newer" asks for an update of the app, "corrupt" for one of the site. */
export class CatalogError extends Error {
  readonly code: 'corrupt' | 'newer';

  constructor(code: 'corrupt' | 'newer', detail: string) {
    super(detail);
    this.name = 'CatalogError';
    this.code = code;
  }
}

/** Everything that must lie on the device before the app works offline: all but the runtime for WebGPU. */
export function required(catalog: Catalog): SiteFile[] {
  return everything(catalog).filter((file) => file !== webgpu(catalog));
}

/** The runtime that the user may fetch besides; undefined where the site has none. */
export function webgpu(catalog: Catalog): RuntimeEntry | undefined {
  return catalog.runtimes.find((runtime) => runtime.provider === 'webgpu');
}

/** All large files of the site. */
export function everything(catalog: Catalog): SiteFile[] {
  return [...catalog.runtimes, ...catalog.models, ...catalog.galleries];
}
