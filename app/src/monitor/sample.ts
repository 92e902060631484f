/** What the monitor knows of one stretch of time. */
import type { Stages, Way } from '../engine/protocol.ts';
import { percentile } from './percentile.ts';

/** The engine's stages; all that is done to a frame but the model; and from the frame on the screen to its label there. */
export const TIMED = ['grab', 'preprocess', 'inference', 'postprocess', 'around', 'label'] as const;
export type Timed = (typeof TIMED)[number];

/** Milliseconds that one frame took. */
export type Timing = Stages & { around: number; label: number };

export interface Spread {
  p50: number;
  p95: number;
}

/** One row of the history. */
export interface Sample {
  /** When it ended, milliseconds since 1970. */
  at: number;
  seconds: number;
  way: Way;
  fps: number;
  /** Frames that the camera showed and that were passed over. */
  dropped: number;
  stages: Record<Timed, Spread>;
  /** Bytes of JavaScript's heap, null where the browser does not say. */
  heap: number | null;
  /** Bytes of the page with its workers, as last measured; null where the browser does not say. */
  memory: number | null;
  /** 0 to 1, null where the browser does not say. */
  battery: number | null;
  /** Median inference against that of the first minute: 1.3 is 30% slower. null until a minute has passed. */
  drift: number | null;
}

/** p50 and p95 of each stage over some frames, at least one. */
export function spreads(timings: readonly Timing[]): Record<Timed, Spread> {
  const spread = (stage: Timed): Spread => {
    const values = timings.map((timing) => timing[stage]);
    return { p50: percentile(values, 0.5), p95: percentile(values, 0.95) };
  };
  return Object.fromEntries(TIMED.map((stage) => [stage, spread(stage)])) as Record<Timed, Spread>;
}
