/** Counts and times frames while the camera runs; closes a row of history every ten seconds. */
import type { Way } from '../engine/protocol.ts';
import { Signal } from '../store/signal.ts';
import { batteryLevel, heapBytes, memoryBytes } from './device.ts';
import type { History } from './history.ts';
import { percentile } from './percentile.ts';
import { spreads, type Sample, type Timing } from './sample.ts';

const ROW_MS = 10_000;
/** What the panel shows is of the last seconds, so that it moves. */
const RECENT_MS = 3_000;
const FIRST_MINUTE_MS = 60_000;

interface Seen {
  at: number;
  timing: Timing;
}

export class Monitor {
  /** The last seconds, about once a second; null before the first frame. */
  readonly now = new Signal<Sample | null>(null);
  private frames: Seen[] = [];
  /** Since the row began: frames that the camera showed, and of these looked at. */
  private shown = 0;
  private taken = 0;
  private began = 0;
  private rowBegan = 0;
  private told = 0;
  private memory: number | null = null;
  private battery: number | null = null;
  /** Inference of the first minute in this way, which later medians are held against. */
  private first: { way: string; began: number; times: number[] } | null = null;

  constructor(
    private readonly history: History,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /** A frame is done. `shown` is how many the camera has shown since the last call. */
  record(timing: Timing, way: Way, shown: number): void {
    const at = this.clock();
    if (this.frames.length === 0) this.began = this.rowBegan = this.told = at;
    this.frames.push({ at, timing });
    this.shown += shown;
    this.taken++;
    this.learn(timing, way, at);
    if (at - this.told >= 1000) {
      this.told = at;
      this.now.value = this.sample(way, at, RECENT_MS);
    }
    if (at - this.rowBegan >= ROW_MS) this.close(way, at);
  }

  /** The camera stops: what was counted so far would only blur the next row. */
  pause(): void {
    this.frames = [];
    this.shown = this.taken = 0;
  }

  private learn(timing: Timing, way: Way, at: number): void {
    const name = JSON.stringify(way);
    if (this.first?.way !== name) this.first = { way: name, began: at, times: [] };
    if (at - this.first.began < FIRST_MINUTE_MS) this.first.times.push(timing.inference);
  }

  private sample(way: Way, at: number, span: number): Sample {
    const recent = this.frames.filter((frame) => at - frame.at < span);
    const seconds = Math.min(span, at - this.began) / 1000;
    const timings = recent.map((frame) => frame.timing);
    const stages = spreads(timings);
    const { began, times } = this.first!;
    return {
      at: Date.now(),
      seconds,
      way,
      fps: recent.length / seconds,
      dropped: Math.max(0, this.shown - this.taken),
      stages,
      heap: heapBytes(),
      memory: this.memory,
      battery: this.battery,
      drift: at - began < FIRST_MINUTE_MS ? null : stages.inference.p50 / percentile(times, 0.5),
    };
  }

  private close(way: Way, at: number): void {
    void this.history.add(this.sample(way, at, ROW_MS));
    void memoryBytes().then((bytes) => (this.memory = bytes));
    void batteryLevel().then((level) => (this.battery = level));
    this.frames = this.frames.filter((frame) => at - frame.at < RECENT_MS);
    this.shown = this.taken = 0;
    this.rowBegan = at;
  }
}
