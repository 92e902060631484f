import 'fake-indexeddb/auto';
import { IDBFactory } from 'fake-indexeddb';
import { beforeEach, expect, test, vi } from 'vitest';
import { openDatabase, type Database } from '../../src/store/database.ts';
import { Shelf } from '../../src/store/shelf.ts';

const model = { name: 'tiny', fingerprint: 'f'.repeat(64), dimensions: 2 };
const shots = [Int8Array.of(127, 0)];

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});

async function shelf(): Promise<Shelf> {
  const opened = new Shelf(await openDatabase());
  await opened.load();
  return opened;
}

test('what was taught is there at the next start, in one gallery', async () => {
  const first = await shelf();
  await first.learn('products', 'My products', model, 'Milk', shots);
  await first.learn('products', 'My products', model, 'Oats', shots);
  await first.learn('landmarks', 'My landmarks', model, 'Tower', shots);
  first.close();
  const next = await shelf();
  expect(next.lasting.value).toBe(true);
  expect(next.fitting('products', model.fingerprint).map(({ file }) => file.entries.length)).toEqual([2]);
  expect(next.fitting('landmarks', 'another model')).toEqual([]);
  next.close();
});

test('removed and cleared', async () => {
  const opened = await shelf();
  await opened.learn('products', 'Mine', model, 'Milk', shots);
  await opened.remove(opened.galleries.value[0]!.id);
  expect(opened.galleries.value).toEqual([]);
  await opened.learn('products', 'Mine', model, 'Milk', shots);
  await opened.clear();
  opened.close();
  const next = await shelf();
  expect(next.galleries.value).toEqual([]);
  next.close();
});

test('another tab sees it', async () => {
  const [here, there] = [await shelf(), await shelf()];
  await here.learn('products', 'Mine', model, 'Milk', shots);
  await vi.waitFor(() => expect(there.galleries.value).toHaveLength(1));
  here.close();
  there.close();
});

test('without a database it lasts as long as the page, and says so', async () => {
  const opened = new Shelf(null);
  await opened.load();
  await opened.learn('products', 'Mine', model, 'Milk', shots);
  expect(opened.galleries.value).toHaveLength(1);
  expect(opened.lasting.value).toBe(false);
  opened.close();
});

test('a full disk keeps it in memory, and says so', async () => {
  const full = { put: () => Promise.reject(new DOMException('full', 'QuotaExceededError')) } as unknown as Database;
  const opened = new Shelf(full);
  await opened.learn('products', 'Mine', model, 'Milk', shots);
  expect(opened.galleries.value).toHaveLength(1);
  expect(opened.lasting.value).toBe(false);
  opened.close();
});

test('a browser that refuses IndexedDB gives none', async () => {
  globalThis.indexedDB = {
    open: () => {
      throw new DOMException('denied', 'SecurityError');
    },
  } as unknown as IDBFactory;
  expect(await openDatabase()).toBeNull();
});
