/** Tells a screen reader what is seen: an answer that has settled and is new, never each frame. */
import type { Reading } from './reading.ts';
import { sameAnswer } from './reading.ts';

/** How long an answer must stand before it is worth saying. */
export const SETTLED_MS = 900;

export class Announcer {
  private pending: Reading = { kind: 'waiting' };
  private said: Reading = { kind: 'waiting' };
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** `settled` is called with each new answer once it stands. */
  constructor(private readonly settled: (reading: Reading) => void) {}

  hear(reading: Reading): void {
    const changed = !sameAnswer(reading, this.pending);
    this.pending = reading;
    if (!changed) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.say(), SETTLED_MS);
  }

  private say(): void {
    if (this.pending.kind === 'waiting' || sameAnswer(this.pending, this.said)) return;
    this.said = this.pending;
    this.settled(this.pending);
  }
}
