/** Reads `catalog.json` as strictly as a bundle: it comes from whatever host the site lies on. */
import { isSafePath } from '../bundle/paths.ts';
import { CatalogError, everything } from './catalog.ts';
import type { Catalog, GalleryEntry, ModelEntry, RuntimeEntry, SiteFile } from './catalog.ts';

const SCHEMA_VERSION = 1;

type Fields = Record<string, unknown>;

/**
 * The catalog in a text. Unknown fields are left alone, so that a later writer may add some.
 *
 * @throws CatalogError "newer" for a later schema, "corrupt" when it is no JSON, or a field is missing or wrong.
 */
export function readCatalog(text: string): Catalog {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw corrupt(`is no JSON (${String(error).slice(0, 120)})`);
  }
  const fields = record(data, 'catalog.json');
  const schema = count(fields, 'schema_version');
  if (schema > SCHEMA_VERSION) {
    throw new CatalogError('newer', `expected a catalog of version ${SCHEMA_VERSION}, got ${schema}; update the app`);
  }
  const catalog: Catalog = {
    schema_version: 1,
    title: words(fields, 'title'),
    version: words(fields, 'version'),
    models: list(fields, 'models').map(model),
    galleries: list(fields, 'galleries').map(gallery),
    runtimes: list(fields, 'runtimes').map(runtime),
  };
  const files = everything(catalog);
  unique(
    files.map((file) => file.path),
    'path',
  );
  unique(
    [...catalog.models, ...catalog.galleries].map((entry) => entry.id),
    'id',
  );
  if (!catalog.models.length) throw corrupt('names no model');
  if (!catalog.runtimes.some((entry) => entry.provider === 'wasm')) throw corrupt('names no runtime for wasm');
  return catalog;
}

/** As `readCatalog`, but null for one that this version cannot read. */
export function readable(text: string): Catalog | null {
  try {
    return readCatalog(text);
  } catch {
    return null;
  }
}

/**
 * The catalog of the version that runs. Once the service worker controls the page it answers from its cache, so this
 * asks the network only at the first visit.
 *
 * @throws CatalogError when the site's catalog.json is missing, corrupt or of a newer pocketlens.
 */
export async function loadCatalog(base: string = document.baseURI): Promise<Catalog> {
  const response = await fetch(new URL('catalog.json', base));
  if (!response.ok) throw corrupt(`expected the site's catalog, got status ${response.status}`);
  return readCatalog(await response.text());
}

function siteFile(fields: Fields): SiteFile {
  const file = { path: path(fields, 'path'), size: count(fields, 'size'), sha256: digest(fields, 'sha256') };
  if (fields['encoding'] === undefined) return file;
  return { ...file, encoding: oneOf(fields, 'encoding', ['gzip']) };
}

function model(data: unknown): ModelEntry {
  const fields = record(data, 'a model');
  const [height, width] = list(fields, 'input');
  return {
    ...siteFile(fields),
    id: words(fields, 'id'),
    name: words(fields, 'name'),
    task: words(fields, 'task'),
    fingerprint: digest(fields, 'fingerprint'),
    classes: count(fields, 'classes'),
    dimensions: count(fields, 'dimensions'),
    input: [count({ height }, 'height'), count({ width }, 'width')],
  };
}

function gallery(data: unknown): GalleryEntry {
  const fields = record(data, 'a gallery');
  return {
    ...siteFile(fields),
    id: words(fields, 'id'),
    name: words(fields, 'name'),
    kind: oneOf(fields, 'kind', ['products', 'landmarks']),
    fingerprint: digest(fields, 'fingerprint'),
    entries: count(fields, 'entries'),
  };
}

function runtime(data: unknown): RuntimeEntry {
  const fields = record(data, 'a runtime');
  return {
    ...siteFile(fields),
    provider: oneOf(fields, 'provider', ['wasm', 'webgpu']),
    glue: path(fields, 'glue'),
  };
}

function record(data: unknown, what: string): Fields {
  if (typeof data === 'object' && data !== null && !Array.isArray(data)) return data as Fields;
  throw corrupt(`expected ${what} to be an object, got ${shown(data)}`);
}

function list(fields: Fields, name: string): unknown[] {
  const value = fields[name];
  if (Array.isArray(value)) return value;
  throw wrong(name, 'a list', value);
}

function words(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === 'string' && value.length > 0) return value;
  throw wrong(name, 'a text', value);
}

function count(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw wrong(name, 'a whole number of 0 or more', value);
}

function digest(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)) return value;
  throw wrong(name, '64 hexadecimal digits', value);
}

function path(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === 'string' && isSafePath(value)) return value;
  throw wrong(name, 'a plain relative path', value);
}

function oneOf<T extends string>(fields: Fields, name: string, allowed: T[]): T {
  const value = allowed.find((word) => word === fields[name]);
  if (value !== undefined) return value;
  throw wrong(name, allowed.join(' or '), fields[name]);
}

function unique(values: string[], name: string): void {
  const twice = values.find((value, place) => values.indexOf(value) !== place);
  if (twice !== undefined) throw corrupt(`two entries have the ${name} ${shown(twice)}`);
}

function wrong(name: string, expected: string, value: unknown): CatalogError {
  return corrupt(`${name}: expected ${expected}, got ${shown(value)}`);
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 80);
}

function corrupt(detail: string): CatalogError {
  return new CatalogError('corrupt', `catalog.json: ${detail}; check for an update, or tell whoever runs this site`);
}
