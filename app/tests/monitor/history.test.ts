import 'fake-indexeddb/auto';
import { expect, test } from 'vitest';
import { History } from '../../src/monitor/history.ts';
import { spreads, type Sample } from '../../src/monitor/sample.ts';
import { openDatabase } from '../../src/store/database.ts';

const sample = (at: number): Sample => ({
  at,
  seconds: 10,
  way: { graph: 'float', provider: 'wasm', threads: 1 },
  fps: 30,
  dropped: 0,
  stages: spreads([{ grab: 1, preprocess: 1, inference: 1, postprocess: 1, around: 4, label: 5 }]),
  heap: null,
  memory: null,
  battery: null,
  drift: null,
});

test('keeps the newest and never grows past its bound', async () => {
  const database = await openDatabase();
  for (const store of [database, null]) {
    const history = new History(store, 10, 4);
    for (let at = 1; at <= 40; at++) await history.add(sample(at));
    const kept = (await history.samples()).map((row) => row.at);
    expect(kept.length).toBeGreaterThanOrEqual(10);
    expect(kept.length).toBeLessThan(14);
    expect(kept.at(-1)).toBe(40);
    await history.clear();
    expect(await history.samples()).toEqual([]);
  }
});

test('a database that went away costs rows, not the app', async () => {
  const database = (await openDatabase())!;
  database.close();
  const history = new History(database);
  await history.add(sample(1));
  expect(await history.samples()).toEqual([]);
});
