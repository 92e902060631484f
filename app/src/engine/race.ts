/** Which way to run a bundle is the fastest here: the ways there are, and a race between them. */
import type { GraphEntry } from '../bundle/manifest.ts';
import { failureOf, type Failure } from '../failure.ts';
import type { Device } from './device.ts';
import type { Way } from './protocol.ts';

/** What a race needs of an engine. */
export interface Racer {
  time(runs: number): Promise<number[]>;
  close(): void;
}

/** How one way did. */
export interface Timing {
  way: Way;
  /** Milliseconds of the model alone; null when no run was timed. */
  median: number | null;
  /** Between the 25th and the 75th percentile, milliseconds. */
  spread: number | null;
  runs: number;
  /** Why it takes no part, or null. */
  failure: Failure | null;
}

export interface Race {
  /** In the order of the ways. */
  timings: Timing[];
  /** The one with the smallest median, or null when none ran. */
  winner: Way | null;
}

export interface RaceSettings {
  /** Time that one way gets in one round, milliseconds. */
  sliceMs: number;
  /** Ways take turns this often, so that a device that grows hot slows all alike. */
  rounds: number;
  /** After a round, ways whose median is more than this times the best leave. */
  cutoff: number;
  /** Called before each turn: 0 to 1, and who runs. */
  progress?: (share: number, way: Way) => void;
  signal?: AbortSignal;
}

const SETTINGS: RaceSettings = { sliceMs: 400, rounds: 2, cutoff: 1.3 };

/**
 * The ways worth trying, the safest first: one thread of wasm runs wherever the app does.
 *
 * Integer graphs stay off WebGPU (it has no integer kernels for them), half-precision ones off wasm (they would be
 * cast to float32: no gain) unless there is nothing else. WebGPU needs its own runtime, so it is there only when
 * asked for, and never on iOS.
 */
export function ways(graphs: readonly GraphEntry[], device: Device, { webgpu }: { webgpu: boolean }): Way[] {
  const names = graphs.map(({ name }) => name);
  const onCpu = names.filter((name) => name !== 'half');
  const found = threadCounts(device).flatMap((threads) =>
    (onCpu.length ? onCpu : names).map((graph): Way => ({ graph, provider: 'wasm', threads })),
  );
  if (webgpu && device.webgpu && !device.ios) {
    for (const graph of names) if (graph !== 'int8') found.push({ graph, provider: 'webgpu', threads: 1 });
  }
  return found;
}

function threadCounts({ isolated, cores, memoryGb }: Device): number[] {
  if (!isolated) return [1];
  // A thread costs a worker and its stack; phones with 2 GB end pages over that. More than 4 are the little cores.
  const most = Math.min(cores, memoryGb !== null && memoryGb <= 2 ? 2 : 4);
  return [1, 2, 4].filter((threads) => threads === 1 || threads <= most);
}

/**
 * Race ways against one another, one engine alive at a time: two with waiting threads would slow each other.
 *
 * A way that cannot be opened, or fails on the course, is reported with its reason and takes no further part.
 *
 * @param open opens an engine for a way.
 * @throws the signal's reason when it aborts.
 */
export async function race(
  contestants: readonly Way[],
  open: (way: Way) => Promise<Racer>,
  settings: Partial<RaceSettings> = {},
): Promise<Race> {
  const { sliceMs, rounds, cutoff, progress, signal } = { ...SETTINGS, ...settings };
  const entries = contestants.map((way) => ({ way, times: [] as number[], failure: null as Failure | null }));
  for (let round = 0; round < rounds; round += 1) {
    const best = Math.min(...entries.map(({ times }) => quantile(times, 0.5) ?? Infinity));
    const running = entries.filter(({ times, failure }) => !failure && (quantile(times, 0.5) ?? 0) <= cutoff * best);
    // Back and forth, so that none is always the one that runs on a warm device.
    if (round % 2) running.reverse();
    for (const [turn, entry] of running.entries()) {
      signal?.throwIfAborted();
      progress?.((round + turn / running.length) / rounds, entry.way);
      try {
        entry.times.push(...(await takeTurn(() => open(entry.way), sliceMs)));
      } catch (thrown) {
        entry.failure = failureOf(thrown);
      }
    }
  }
  signal?.throwIfAborted();
  const timings = entries.map(({ way, times, failure }): Timing => {
    const [low, median, high] = [0.25, 0.5, 0.75].map((share) => quantile(times, share));
    return { way, median: median!, spread: median === null ? null : high! - low!, runs: times.length, failure };
  });
  return { timings, winner: fastest(timings) };
}

async function takeTurn(open: () => Promise<Racer>, sliceMs: number): Promise<number[]> {
  const racer = await open();
  try {
    // The first runs touch memory for the first time and choose kernels; the second of them says how many fit.
    const warm = await racer.time(2);
    const runs = Math.min(50, Math.max(3, Math.round(sliceMs / Math.max(warm[1]!, 0.1))));
    return await racer.time(runs);
  } finally {
    racer.close();
  }
}

function fastest(timings: readonly Timing[]): Way | null {
  let winner: Timing | null = null;
  for (const timing of timings) {
    // Of equals the earlier, safer one.
    if (!timing.failure && timing.median !== null && timing.median < (winner?.median ?? Infinity)) winner = timing;
  }
  return winner?.way ?? null;
}

/** Linear between the closest ranks; null of nothing. */
function quantile(values: readonly number[], share: number): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const rank = share * (sorted.length - 1);
  const below = sorted[Math.floor(rank)]!;
  return below + (sorted[Math.ceil(rank)]! - below) * (rank % 1);
}
