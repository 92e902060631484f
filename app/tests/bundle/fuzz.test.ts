/** Damaged streams, drawn at random: each is refused with a FailureError, or gives no more than it may. */
import { expect, test } from 'vitest';
import { Content } from '../../src/bundle/content.ts';
import { openBundle } from '../../src/bundle/open.ts';
import { decodeRecords, RecordDecoder } from '../../src/bundle/records.ts';
import { FailureError } from '../../src/failure.ts';
import { bytesOf, everyKindBundle, VECTORS } from './sample.ts';

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? '1');
const SEED = Number(process.env['FUZZ_SEED'] ?? '0');

const CORPUS = [...VECTORS.good, ...VECTORS.bad].map(({ coded }) => bytesOf(coded));

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

function damaged(whole: Uint8Array, draw: (below: number) => number): Uint8Array<ArrayBuffer> {
  const bytes = [...whole];
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

/** What a reader makes of it: content, or the code of its refusal; anything else that is thrown is a fault. */
async function outcome(seed: number, read: () => unknown): Promise<unknown> {
  try {
    return await read();
  } catch (thrown) {
    if (thrown instanceof FailureError) return thrown.code;
    throw new Error(`FUZZ_SEED=${SEED}, round ${seed}`, { cause: thrown });
  }
}

function decodePieces(coded: Uint8Array, draw: (below: number) => number): Uint8Array {
  const blob = new Content(VECTORS.limit);
  const decoder = new RecordDecoder(blob);
  for (let at = 0; at < coded.length;) {
    const length = 1 + draw(40);
    decoder.push(coded.subarray(at, at + length));
    at += length;
  }
  decoder.end();
  return blob.take();
}

test(
  'streams of records, whole and in pieces',
  async () => {
    const end = Date.now() + 1000 * SECONDS;
    for (let round = 0; round < 200 || Date.now() < end; round += 1) {
      const draw = dice(SEED + round);
      const coded = damaged(CORPUS[draw(CORPUS.length)]!, draw);
      const whole = await outcome(round, () => decodeRecords(coded, VECTORS.limit));
      const pieces = await outcome(round, () => decodePieces(coded, draw));
      if (whole instanceof Uint8Array) expect(whole.length).toBeLessThanOrEqual(VECTORS.limit);
      expect(pieces).toEqual(whole);
    }
  },
  1000 * SECONDS + 30_000,
);

test(
  'bundles',
  async () => {
    const end = Date.now() + 1000 * SECONDS;
    const whole = await everyKindBundle();
    const wanted = await contents(new Blob([whole]));
    for (let round = 0; round < 50 || Date.now() < end; round += 1) {
      const file = damaged(whole, dice(SEED + round));
      const got = await outcome(round, () => contents(new Blob([file])));
      if (typeof got !== 'string') expect(got).toEqual(wanted);
    }
  },
  1000 * SECONDS + 30_000,
);

async function contents(file: Blob): Promise<Record<string, Uint8Array>> {
  const bundle = await openBundle(file);
  const paths = Object.keys(bundle.manifest.members);
  return Object.fromEntries(await Promise.all(paths.map(async (path) => [path, await bundle.read(path)] as const)));
}
