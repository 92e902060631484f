/** Bundles that a stranger made: refused, or what they were; and never in more memory than is there. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { Content } from '../../src/bundle/content.ts';
import { openBundle } from '../../src/bundle/open.ts';
import { decodeRecords, RecordDecoder } from '../../src/bundle/records.ts';
import { everyKindBundle, sampleBundle } from './sample.ts';

/** Everything in a bundle, as text that is quickly compared. */
async function contents(file: Blob): Promise<string> {
  const { manifest, ...bundle } = await read(file);
  return JSON.stringify([manifest, bundle.members]);
}

async function read(file: Blob) {
  const bundle = await openBundle(file);
  const members: Record<string, string> = {};
  for (const path of Object.keys(bundle.manifest.members)) {
    members[path] = Buffer.from(await bundle.read(path)).toString('base64');
  }
  return { manifest: bundle.manifest, members };
}

describe.each([
  { codec: 'zstd', made: async () => new Uint8Array(await (await sampleBundle()).arrayBuffer()), masks: [0xff] },
  { codec: 'records of every kind', made: everyKindBundle, masks: [0x01, 0xff] },
])('a bundle with weights as $codec', ({ made, masks }) => {
  test.each(masks)('any one byte changed by %i is refused or harmless', { timeout: 60_000 }, async (mask) => {
    const whole = await made();
    const wanted = await contents(new Blob([whole]));
    let refused = 0;
    for (let at = 0; at < whole.length; at += 1) {
      const changed = whole.slice();
      changed[at]! ^= mask;
      try {
        expect(await contents(new Blob([changed]))).toBe(wanted);
      } catch (thrown) {
        expect(thrown).toMatchObject({ name: 'FailureError' });
        refused += 1;
      }
    }
    // The rest are dates, attributes and the local copies of sizes, which nothing reads.
    expect(refused).toBeGreaterThan(0.8 * whole.length);
  });

  test('any first part is refused', { timeout: 60_000 }, async () => {
    const whole = await made();
    for (let end = 0; end < whole.length; end += 1) {
      await expect(contents(new Blob([whole.subarray(0, end)]))).rejects.toMatchObject({ name: 'FailureError' });
    }
  });
});

/** LEB128. */
function number(value: number): number[] {
  return value > 127 ? [(value % 128) | 128, ...number(Math.floor(value / 128))] : [value];
}

function stream(...records: { kind: number; size: number; payload: Uint8Array }[]): Uint8Array {
  const heads = records.map(({ kind, size, payload }) =>
    Buffer.concat([Uint8Array.of(kind, ...number(size), ...number(payload.length)), payload]),
  );
  return Buffer.concat([Buffer.from('PLT1'), ...heads]);
}

/** The largest sum of all buffers while `work` asks for it. */
function buffersAtMost(work: (look: () => void) => void): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  work(() => {
    collect();
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  });
  return most;
}

test('a bomb in a record is refused before it takes memory', () => {
  // A frame of 8,192 blocks, each a zero 131,072 times: 1 GiB in 32 kB, in a record that says 1 kB.
  const blocks = Array.from({ length: 8192 }, (_, index) => [index === 8191 ? 3 : 2, 0, 0x10, 0]).flat();
  const payload = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x38, ...blocks);
  const coded = stream({ kind: 2, size: 1000, payload });
  const most = buffersAtMost((look) => {
    expect(() => decodeRecords(coded, 2 ** 31)).toThrow('more than the 1000 bytes');
    look();
  });
  expect(most).toBeLessThan(2e6);
});

test('absurd sizes are refused before room is made for them', () => {
  const coded = stream({ kind: 0, size: 2 ** 34, payload: new Uint8Array(0) });
  expect(() => decodeRecords(coded, 2 ** 31)).toThrow('refused as unsafe');
  const promising = stream({ kind: 1, size: 5, payload: new TextEncoder().encode('hello') });
  const most = buffersAtMost((look) => {
    const blob = new Content(2 ** 31);
    new RecordDecoder(blob).push(promising);
    look();
    expect(blob.take()).toHaveLength(5);
  });
  expect(most).toBeLessThan(2e6);
});

test('a blob takes hardly more memory than itself while it is decoded', { timeout: 60_000 }, () => {
  const record = { kind: 1, size: 2 ** 20, payload: new Uint8Array(2 ** 20).fill(7) };
  const scaled = { kind: 6, size: 2 ** 20, payload: Uint8Array.of(0, 0, 0, 0x80, 0x3f) };
  const coded = stream(...Array.from({ length: 64 }, (_, index) => (index % 4 === 3 ? scaled : record)));
  const most = buffersAtMost((look) => {
    const blob = new Content(2 ** 26);
    const decoder = new RecordDecoder(blob);
    for (let at = 0; at < coded.length; at += 2 ** 16) {
      decoder.push(coded.slice(at, at + 2 ** 16));
      if (at % 2 ** 20 === 0) look();
    }
    decoder.end();
    look();
    expect(blob.take()).toHaveLength(2 ** 26);
  });
  expect(most).toBeGreaterThan(0.99 * 2 ** 26);
  expect(most).toBeLessThan(1.15 * 2 ** 26);
});
