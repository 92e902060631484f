import { expect, test, vi } from 'vitest';
import type { Catalog, ModelEntry } from '../../src/install/catalog.ts';
import { emptyGallery, withEntry } from '../../src/store/own-gallery.ts';
import { Shelf } from '../../src/store/shelf.ts';
import { Collection } from '../../src/ui/collection.ts';

const model = (id: string, dimensions = 2): ModelEntry => ({
  id,
  name: id,
  task: 'classification',
  fingerprint: id.repeat(4),
  classes: 3,
  dimensions,
  input: [8, 8],
  path: `bundles/${id}.lens`,
  size: 1,
  sha256: '0'.repeat(64),
});

const [a, b, plain] = [model('a'), model('b'), model('plain', 0)];
const places = {
  id: 'places',
  name: 'Places',
  kind: 'landmarks' as const,
  fingerprint: b.fingerprint,
  entries: 1,
  path: 'galleries/places.gallery',
  size: 1,
  sha256: '0'.repeat(64),
};
const catalog = (models: ModelEntry[], galleries = [places]): Catalog => ({
  schema_version: 1,
  title: 'test',
  version: '1',
  models,
  galleries,
  runtimes: [],
});
const backboneOf = ({ name, fingerprint, dimensions }: ModelEntry) => ({ name, fingerprint, dimensions });
const file = withEntry(emptyGallery('landmarks', 'Places', backboneOf(b)), 'Tower', [Int8Array.of(127, 0)]);

function collection(models: ModelEntry[], galleries = [places]) {
  const shelf = new Shelf(null);
  const read = vi.fn(() => Promise.resolve(file));
  return { shelf, read, of: new Collection(catalog(models, galleries), shelf, read) };
}

test('objects use the chosen model, or the first when the chosen is gone', () => {
  const { of } = collection([a, b]);
  expect(of.modelFor('objects', 'b')).toBe(b);
  expect(of.modelFor('objects', 'gone')).toBe(a);
  expect(collection([]).of.modelFor('objects', null)).toBeNull();
});

test('landmarks use the model that has some', () => {
  expect(collection([a, b]).of.modelFor('landmarks', 'a')).toBe(b);
});

test('with galleries of none, a model that can learn is used', () => {
  const { of } = collection([plain, a], []);
  expect(of.modelFor('products', null)).toBe(a);
  expect(collection([plain], []).of.modelFor('products', null)).toBe(plain);
});

test('what was taught keeps to the model that it was taught in', async () => {
  const { of, shelf } = collection([a, b]);
  await shelf.learn('landmarks', 'Mine', backboneOf(a), 'Bridge', [Int8Array.of(0, 127)]);
  expect(of.modelFor('landmarks', 'a')).toBe(a);
  expect((await of.gallery('landmarks', a))?.entries.map(({ label }) => label)).toEqual(['Bridge']);
});

test('the site’s gallery and one’s own are one to search; files are read once', async () => {
  const { of, shelf, read } = collection([b]);
  await shelf.learn('landmarks', 'Mine', backboneOf(b), 'Bridge', [Int8Array.of(0, 127)]);
  await of.gallery('landmarks', b);
  const whole = await of.gallery('landmarks', b);
  expect(whole?.entries.map(({ label }) => label)).toEqual(['Tower', 'Bridge']);
  expect(read).toHaveBeenCalledOnce();
  expect(await of.gallery('products', b)).toBeNull();
});
