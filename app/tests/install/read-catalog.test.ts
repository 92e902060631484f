import { describe, expect, it } from 'vitest';
import { CatalogError, everything, required, webgpu } from '../../src/install/catalog.ts';
import { readable, readCatalog } from '../../src/install/read-catalog.ts';

const HASH = 'a1'.repeat(32);

function valid(): Record<string, any> {
  const file = (path: string): object => ({ path, size: 10, sha256: HASH });
  return {
    schema_version: 1,
    title: 'Käse',
    version: 'abc',
    models: [
      {
        ...file('bundles/a-1.lens'),
        id: 'a',
        name: 'a',
        task: 'classification',
        fingerprint: HASH,
        classes: 2,
        dimensions: 0,
        input: [224, 192],
      },
    ],
    galleries: [
      { ...file('galleries/b-1.gallery'), id: 'b', name: 'b', kind: 'products', fingerprint: HASH, entries: 3 },
    ],
    runtimes: [
      { ...file('runtime/w.wasm.gzip'), provider: 'wasm', glue: 'runtime/w.mjs', encoding: 'gzip' },
      { ...file('runtime/g.wasm.gzip'), provider: 'webgpu', glue: 'runtime/g.mjs', encoding: 'gzip' },
    ],
  };
}

function read(change: (data: Record<string, any>) => void = () => undefined): ReturnType<typeof readCatalog> {
  const data = valid();
  change(data);
  return readCatalog(JSON.stringify(data));
}

it('reads what pocketlens writes', () => {
  expect(read()).toEqual(valid());
  expect(required(read()).map((file) => file.path)).not.toContain('runtime/g.wasm.gzip');
  expect(webgpu(read())?.glue).toBe('runtime/g.mjs');
  expect(everything(read())).toHaveLength(4);
});

it('leaves unknown fields alone', () => {
  expect(read((data) => (data['models'][0].colour = 'red'))).toEqual(valid());
});

it('asks for an update when it is of a later pocketlens', () => {
  expect(() => read((data) => (data['schema_version'] = 2))).toThrow(expect.objectContaining({ code: 'newer' }));
  expect(readable(JSON.stringify({ ...valid(), schema_version: 2 }))).toBeNull();
});

describe('refuses', () => {
  it.each<[string, (data: Record<string, any>) => void, RegExp]>([
    ['no title', (data) => delete data['title'], /title/],
    ['an empty version', (data) => (data['version'] = ''), /version/],
    ['models that are no list', (data) => (data['models'] = {}), /models/],
    ['no model', (data) => (data['models'] = []), /no model/],
    ['no runtime for wasm', (data) => data['runtimes'].shift(), /no runtime/],
    ['a model that is null', (data) => (data['models'][0] = null), /a model/],
    ['a path out of the site', (data) => (data['models'][0].path = '../x'), /path/],
    ['a path to elsewhere', (data) => (data['models'][0].path = '//example.com/x'), /path/],
    ['an absolute glue', (data) => (data['runtimes'][0].glue = 'https://example.com/x.mjs'), /glue/],
    ['a negative size', (data) => (data['models'][0].size = -1), /size/],
    ['half a byte', (data) => (data['models'][0].size = 1.5), /size/],
    ['a short SHA-256', (data) => (data['models'][0].sha256 = 'abc'), /sha256/],
    ['an unknown kind', (data) => (data['galleries'][0].kind = 'faces'), /kind.*products or landmarks/],
    ['an unknown encoding', (data) => (data['runtimes'][0].encoding = 'zstd'), /encoding/],
    ['an input without width', (data) => (data['models'][0].input = [224]), /width/],
    ['a path twice', (data) => (data['galleries'][0].path = data['models'][0].path), /the path/],
    ['an id twice', (data) => (data['galleries'][0].id = 'a'), /the id/],
  ])('%s', (_, change, message) => {
    expect(() => read(change)).toThrow(message);
    expect(() => read(change)).toThrow(CatalogError);
  });

  it.each(['', 'null', '[]', '{', '<!doctype html>'])('%j', (text) => {
    expect(() => readCatalog(text)).toThrow(expect.objectContaining({ code: 'corrupt' }));
  });
});
