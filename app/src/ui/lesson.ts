/** Teaching a gallery one thing: shots are taken, turned to vectors, and kept once there are enough. */
import { grab, sizeOf } from '../camera/frames.ts';
import type { Engine } from '../engine/client.ts';
import type { Region } from '../engine/protocol.ts';
import { quantizeVector } from '../recognition/vector.ts';
import { Signal } from '../store/signal.ts';

export const FEWEST_SHOTS = 3;
export const MOST_SHOTS = 8;
/** Two shots this alike (cosine) teach the same thing twice. */
const SAME_VIEW = 0.97;
/** A shot this far (cosine) from all others shows something else, most likely. */
const OTHER_THING = 0.1;

/** How the last shot was. */
export type Verdict = 'good' | 'same-view' | 'other-thing' | 'no-frame';

export interface LessonState {
  /** Small pictures of the shots, for the person to see. */
  thumbnails: readonly ImageBitmap[];
  verdict: Verdict | null;
  busy: boolean;
}

export class Lesson {
  readonly state = new Signal<LessonState>({ thumbnails: [], verdict: null, busy: false });
  private vectors: Float32Array[] = [];

  constructor(
    private readonly engine: Engine,
    private readonly video: HTMLVideoElement,
    private readonly regionOf: (size: { width: number; height: number }) => Region | null,
  ) {}

  /** Take a shot of what is in the viewfinder. */
  async shoot(): Promise<void> {
    if (this.state.value.busy || this.vectors.length >= MOST_SHOTS) return;
    this.state.value = { ...this.state.value, busy: true };
    const frame = await grab(this.video);
    if (!frame) return this.tell('no-frame');
    const region = this.regionOf(sizeOf(frame));
    const { x, y, width, height } = region ?? { x: 0, y: 0, ...sizeOf(frame) };
    const thumbnail = await createImageBitmap(frame, x, y, width, height, { resizeWidth: 160, resizeHeight: 160 });
    const look = await this.engine.look(frame, region, { topK: 1, embedding: true });
    if (!look?.embedding) return this.tell('no-frame');
    const verdict = judge(look.embedding, this.vectors);
    if (verdict === 'same-view') return this.tell(verdict);
    this.vectors.push(look.embedding);
    this.state.value = { thumbnails: [...this.state.value.thumbnails, thumbnail], verdict, busy: false };
  }

  /** Take the last shot back. */
  undo(): void {
    this.vectors.pop();
    this.state.value.thumbnails.at(-1)?.close();
    this.state.value = { thumbnails: this.state.value.thumbnails.slice(0, -1), verdict: null, busy: false };
  }

  get enough(): boolean {
    return this.vectors.length >= FEWEST_SHOTS;
  }

  /** The shots as a gallery keeps them. */
  shots(): Int8Array[] {
    return this.vectors.map(quantizeVector);
  }

  close(): void {
    for (const thumbnail of this.state.value.thumbnails) thumbnail.close();
  }

  private tell(verdict: Verdict): void {
    this.state.value = { ...this.state.value, verdict, busy: false };
  }
}

/** How a new vector fits those before it; all are of unit length. */
export function judge(vector: Float32Array, others: readonly Float32Array[]): Verdict {
  const likeness = others.map((other) => other.reduce((sum, value, index) => sum + value * (vector[index] ?? 0), 0));
  if (likeness.some((cosine) => cosine > SAME_VIEW)) return 'same-view';
  if (likeness.length > 0 && Math.max(...likeness) < OTHER_THING) return 'other-thing';
  return 'good';
}
