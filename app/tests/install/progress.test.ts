import { expect, it } from 'vitest';
import { Inventory, PART_BYTES } from '../../src/install/part-store.ts';
import { Meter } from '../../src/install/progress.ts';
import type { Progress } from '../../src/install/progress.ts';

const FILE = { path: 'a', size: PART_BYTES + 10, sha256: 'x' };

function meter(stored: string[]): { meter: Meter; told: Progress[]; clock: { time: number } } {
  const told: Progress[] = [];
  const clock = { time: 0 };
  const made = new Meter(
    [FILE],
    new Inventory(new Set(stored)),
    (progress) => told.push(progress),
    () => clock.time,
  );
  return { meter: made, told, clock };
}

it('counts what was stored before as loaded, and not for the speed', () => {
  const { meter: made, told, clock } = meter(['x/0']);
  expect(made.left).toBe(10);
  made.received(FILE, 4);
  clock.time = 1000;
  made.received(FILE, 6);
  expect(told[0]).toEqual({ path: 'a', loaded: PART_BYTES + 4, total: PART_BYTES + 10, bytesPerSecond: 0 });
  expect(told[1]).toEqual({ path: 'a', loaded: PART_BYTES + 10, total: PART_BYTES + 10, bytesPerSecond: 6 });
});

it('forgets how fast it was', () => {
  const { meter: made, told, clock } = meter([]);
  for (clock.time = 0; clock.time <= 10_000; clock.time += 1000) made.received(FILE, 100);
  expect(told.at(-1)?.bytesPerSecond).toBe(100);
  clock.time = 60_000;
  made.received(FILE, 1);
  expect(told.at(-1)?.bytesPerSecond).toBe(0);
});

it('starts over when a file is dropped', () => {
  const { meter: made } = meter(['x/0', 'x/1']);
  expect(made.left).toBe(0);
  made.dropped(FILE);
  expect(made.left).toBe(FILE.size);
});
