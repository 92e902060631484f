/** The live loop: newest frame in, reading out, each timed for the monitor. */
import { eachFrame, sizeOf, type Frame, type FrameCounts } from '../camera/frames.ts';
import type { Engine } from '../engine/client.ts';
import type { Region } from '../engine/protocol.ts';
import { FailureError } from '../failure.ts';
import type { Monitor } from '../monitor/monitor.ts';
import { Reader, TOP_K, type Reading } from './reading.ts';

export interface LiveSettings {
  video: HTMLVideoElement;
  engine: Engine;
  monitor: Monitor;
  /** Whether a gallery is searched: its matches are read then, not logits. */
  searching: boolean;
  /** What of a frame of this size to look at. */
  regionOf: (size: { width: number; height: number }) => Region | null;
  /** Show a reading; done once it is on the page. */
  show: (reading: Reading) => Promise<unknown>;
  /** The engine ended. */
  fail: (failure: FailureError) => void;
}

export class Live {
  private readonly reader: Reader;
  private readonly end: () => void;
  private lastShown = 0;
  private over = false;

  constructor(private readonly settings: LiveSettings) {
    this.reader = new Reader(settings.engine.opened);
    this.end = eachFrame(settings.video, (frame, counts) => this.look(frame, counts));
  }

  /** Another region: what was seen before says nothing of it. */
  moved(): void {
    this.reader.reset();
  }

  stop(): void {
    this.over = true;
    this.end();
    this.settings.monitor.pause();
  }

  private async look(frame: Frame, counts: FrameCounts): Promise<void> {
    const { engine, monitor, searching, regionOf, show, fail } = this.settings;
    const began = performance.now();
    try {
      const look = await engine.look(frame, regionOf(sizeOf(frame)), { topK: TOP_K, logits: !searching });
      if (!look || this.over) return;
      await show(this.reader.read(look, counts.at));
      const done = performance.now();
      const timing = { ...look.stages, around: done - began - look.stages.inference, label: done - counts.at };
      monitor.record(timing, engine.way, counts.shown - this.lastShown);
      this.lastShown = counts.shown;
    } catch (error) {
      if (this.over) return;
      // One bad frame is passed over; anything else is the end of this engine.
      if (error instanceof FailureError && error.code === 'frame') return;
      this.stop();
      fail(error instanceof FailureError ? error : new FailureError('runtime', String(error)));
    }
  }
}
