import { describe, expect, test } from 'vitest';
import type { GraphEntry } from '../../src/bundle/manifest.ts';
import type { Device } from '../../src/engine/device.ts';
import type { Way } from '../../src/engine/protocol.ts';
import { race, ways } from '../../src/engine/race.ts';
import { FailureError } from '../../src/failure.ts';

const PHONE: Device = { cores: 8, isolated: true, memoryGb: 8, ios: false, webgpu: true };

function graphs(...names: string[]): GraphEntry[] {
  return names.map((name) => ({
    name,
    graph: 'g',
    weights: null,
    session: {},
    parameters: 0,
    macs: 0,
    measurement: {},
  }));
}

const written = ({ graph, provider, threads }: Way) => `${graph} ${provider} ${threads}`;

describe('the ways there are', () => {
  const found = (names: string[], device: Partial<Device> = {}, webgpu = false) =>
    ways(graphs(...names), { ...PHONE, ...device }, { webgpu }).map(written);

  test('one thread first, then more, each graph', () => {
    expect(found(['int8', 'float'])).toEqual([
      'int8 wasm 1',
      'float wasm 1',
      'int8 wasm 2',
      'float wasm 2',
      'int8 wasm 4',
      'float wasm 4',
    ]);
  });

  test('no more threads than cores, than little memory bears, than isolation allows', () => {
    expect(found(['float'], { cores: 1 })).toEqual(['float wasm 1']);
    expect(found(['float'], { cores: 3 })).toEqual(['float wasm 1', 'float wasm 2']);
    expect(found(['float'], { memoryGb: 2 })).toEqual(['float wasm 1', 'float wasm 2']);
    expect(found(['float'], { memoryGb: null })).toHaveLength(3);
    expect(found(['float'], { isolated: false })).toEqual(['float wasm 1']);
  });

  test('WebGPU when asked for, without integers, never on iOS', () => {
    const device = { cores: 1 };
    expect(found(['int8', 'float', 'half'], device, true).slice(2)).toEqual(['float webgpu 1', 'half webgpu 1']);
    expect(found(['float'], device)).toEqual(['float wasm 1']);
    expect(found(['float'], { ...device, webgpu: false }, true)).toEqual(['float wasm 1']);
    expect(found(['float'], { ...device, ios: true }, true)).toEqual(['float wasm 1']);
  });

  test('half precision stays off wasm unless there is nothing else', () => {
    expect(found(['half', 'fp32'], { cores: 1 })).toEqual(['fp32 wasm 1']);
    expect(found(['half'], { cores: 1 })).toEqual(['half wasm 1']);
  });
});

describe('a race', () => {
  const fast: Way = { graph: 'float', provider: 'wasm', threads: 2 };
  const middling: Way = { graph: 'int8', provider: 'wasm', threads: 2 };
  const slow: Way = { graph: 'float', provider: 'wasm', threads: 1 };
  const PACE = new Map([
    [fast, 30],
    [middling, 36],
    [slow, 60],
  ]);

  /** Engines that run at a pace, and how many were alive at once. */
  function stable() {
    const alive = { now: 0, most: 0, opened: [] as string[] };
    const open = async (way: Way) => {
      alive.now += 1;
      alive.most = Math.max(alive.most, alive.now);
      alive.opened.push(written(way));
      let warm = 0;
      return {
        // The first run is slow, as a cold one is.
        time: async (runs: number) => Array.from({ length: runs }, () => (warm++ === 0 ? 500 : PACE.get(way)!)),
        close: () => void (alive.now -= 1),
      };
    };
    return { alive, open };
  }

  test('is won by the smallest median, cold runs apart, one engine alive at a time', async () => {
    const { alive, open } = stable();
    const { timings, winner } = await race([slow, middling, fast], open);
    expect(winner).toBe(fast);
    expect(timings.map(({ way, median, spread }) => [way, median, spread])).toEqual([
      [slow, 60, 0],
      [middling, 36, 0],
      [fast, 30, 0],
    ]);
    expect(alive).toMatchObject({ now: 0, most: 1 });
  });

  test('turns go back and forth, and the slow leave after the first', async () => {
    const { alive, open } = stable();
    await race([slow, middling, fast], open);
    expect(alive.opened).toEqual([slow, middling, fast, fast, middling].map(written));
  });

  test('a way that fails says why and takes no further part', async () => {
    const { open } = stable();
    const failing = async (way: Way) => {
      if (way === fast) throw new FailureError('memory', 'no room');
      return open(way);
    };
    const { timings, winner } = await race([slow, fast], failing);
    expect(winner).toBe(slow);
    expect(timings[1]).toEqual({
      way: fast,
      median: null,
      spread: null,
      runs: 0,
      failure: { code: 'memory', detail: 'no room' },
    });
  });

  test('a way that fails in the second round does not win by its first', async () => {
    const { open } = stable();
    let turns = 0;
    const failing = async (way: Way) => {
      if (way === fast && ++turns === 2) throw new Error('context lost');
      return open(way);
    };
    const { winner, timings } = await race([middling, fast], failing);
    expect(winner).toBe(middling);
    expect(timings[1]!.failure).toEqual({ code: 'runtime', detail: 'context lost' });
  });

  test('an engine that fails on the course is closed', async () => {
    const { alive, open } = stable();
    const stumbling = async (way: Way) => ({
      ...(await open(way)),
      time: async () => {
        throw new FailureError('runtime', 'fell');
      },
    });
    expect((await race([slow], stumbling)).winner).toBeNull();
    expect(alive.now).toBe(0);
  });

  test('without contestants nobody wins', async () => {
    expect(await race([], stable().open)).toEqual({ timings: [], winner: null });
  });

  test('progress goes from 0 towards 1, and aborting ends it', async () => {
    const { open } = stable();
    const shares: number[] = [];
    await race([middling, fast], open, { progress: (share) => shares.push(share) });
    expect(shares).toEqual([0, 0.25, 0.5, 0.75]);
    const controller = new AbortController();
    const racing = race([middling, fast], open, { signal: controller.signal, progress: () => controller.abort() });
    await expect(racing).rejects.toMatchObject({ name: 'AbortError' });
  });
});
