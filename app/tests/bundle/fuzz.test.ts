/** Damaged streams, drawn at random: each is refused with a FailureError, or gives no more than it may. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decodeRecords } from '../../src/bundle/records.ts';
import { FailureError } from '../../src/failure.ts';

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? '1');

interface Vectors {
  limit: number;
  good: { coded: string }[];
  bad: { coded: string }[];
}

const FILE = new URL('../../../tests/bundle/vectors.json', import.meta.url);
const VECTORS = JSON.parse(readFileSync(FILE, 'utf8')) as Vectors;
const CORPUS = [...VECTORS.good, ...VECTORS.bad].map(({ coded }) => [...Buffer.from(coded, 'base64')]);

/** Mulberry32, so that a round can be repeated. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function damaged(draw: (below: number) => number): Uint8Array {
  const bytes = [...CORPUS[draw(CORPUS.length)]!];
  for (let times = draw(4); times >= 0; times -= 1) {
    const at = draw(bytes.length + 1);
    const run = 1 + draw(8);
    const kind = draw(4);
    if (kind === 0 && at < bytes.length) bytes[at]! ^= 1 << draw(8);
    else if (kind === 1) bytes.splice(at, run);
    else if (kind === 2) bytes.splice(at, run, ...Array.from({ length: run }, () => draw(256)));
    else bytes.splice(at, 0, ...bytes.slice(Math.max(at - run, 0), at));
  }
  return Uint8Array.from(bytes);
}

test(
  'streams of records',
  () => {
    const end = Date.now() + 1000 * SECONDS;
    for (let seed = 0; seed < 200 || Date.now() < end; seed += 1) {
      const coded = damaged(dice(seed));
      try {
        expect(decodeRecords(coded, VECTORS.limit).length).toBeLessThanOrEqual(VECTORS.limit);
      } catch (thrown) {
        if (!(thrown instanceof FailureError)) throw new Error(`seed ${seed}`, { cause: thrown });
      }
    }
  },
  1000 * SECONDS + 30_000,
);
