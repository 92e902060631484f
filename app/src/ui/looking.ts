/** What is looked at, the camera's picture or a still one, and what is read from it. */
import { Camera } from '../camera/camera.ts';
import { grab } from '../camera/frames.ts';
import { openPhoto, PhotoError } from '../camera/photo.ts';
import type { Engine } from '../engine/client.ts';
import type { Region } from '../engine/protocol.ts';
import type { FailureError } from '../failure.ts';
import type { Monitor } from '../monitor/monitor.ts';
import { Signal } from '../store/signal.ts';
import type { Fit } from './geometry.ts';
import { Lesson } from './lesson.ts';
import { Live } from './live.ts';
import { sameAnswer, type Reading } from './reading.ts';
import { readStill, type Still } from './still.ts';

/** Drawing sixty times a second what changes by a percent costs the battery, and the model its core. */
const REDRAW_MS = 120;

/** What to look with. */
export interface Means {
  engine: Engine;
  monitor: Monitor;
  /** Whether a gallery is searched; else answers are the model's own. */
  searching: boolean;
  /** A gallery mode without a single entry: there is nothing to find. */
  empty: boolean;
  /** The engine ended. */
  fail: (failure: FailureError) => void;
}

export class Looking {
  readonly reading = new Signal<Reading>({ kind: 'waiting' });
  readonly still = new Signal<Still | null>(null);
  /** While something is taught, engine and camera are the lesson's. */
  readonly lesson = new Signal<Lesson | null>(null);
  readonly video = document.createElement('video');
  readonly camera: Camera;
  /** What of a frame lies in the viewfinder; the stage says. */
  regionOf: (size: { width: number; height: number }) => Region | null = () => null;
  /** Done once a reading is on the page; the page says. */
  drawn: () => Promise<unknown> = () => Promise.resolve();
  private means: Means | null = null;
  private live: Live | null = null;
  private stills = 0;
  private drew = 0;

  constructor() {
    this.video.muted = true;
    this.video.playsInline = true;
    this.camera = new Camera(this.video);
    this.camera.state.subscribe(({ kind }) => {
      // What was seen last says nothing once nothing is seen.
      if (kind !== 'live' && !this.still.value) this.rest();
      this.watch();
    });
  }

  /** Look with these from now on, or not at all until there are others. */
  async use(means: Means | null): Promise<void> {
    this.means = means;
    this.rest();
    this.watch();
    await this.readStill();
  }

  /** Hold the frame that the camera shows. */
  async freeze(): Promise<void> {
    const frame = await grab(this.video);
    if (!frame) return;
    this.show(await createImageBitmap(frame), 'cover');
    frame.close();
  }

  /** Look at a photo from the album. Returns false when it is none that can be read. */
  async openPhoto(file: Blob): Promise<boolean> {
    try {
      this.show(await openPhoto(file), 'contain');
      return true;
    } catch (error) {
      if (error instanceof PhotoError) return false;
      throw error;
    }
  }

  /** Back to the camera. */
  thaw(): void {
    const before = this.still.value;
    this.still.value = null;
    before?.bitmap.close();
    this.rest();
    this.watch();
  }

  /** The viewfinder moved. */
  async moved(): Promise<void> {
    this.live?.moved();
    await this.readStill();
  }

  /** Begin to teach one thing. */
  teach(): void {
    if (!this.means || this.lesson.value) return;
    if (this.still.value) this.thaw();
    this.lesson.value = new Lesson(this.means.engine, this.video, (size) => this.regionOf(size));
    this.watch();
  }

  /** End the lesson. Returns the shots as a gallery keeps them, if there are enough. */
  endLesson(): Int8Array[] | null {
    const lesson = this.lesson.value;
    this.lesson.value = null;
    const shots = lesson?.enough ? lesson.shots() : null;
    lesson?.close();
    this.watch();
    return shots;
  }

  private show(bitmap: ImageBitmap, fit: Fit): void {
    const before = this.still.value;
    this.still.value = { id: ++this.stills, bitmap, fit };
    before?.bitmap.close();
    // A frozen frame is what was just read; a photo is something else.
    if (fit === 'contain') this.rest();
    this.watch();
    void this.readStill();
  }

  private rest(): void {
    this.reading.value = { kind: this.means?.empty ? 'empty' : 'waiting' };
  }

  private async readStill(): Promise<void> {
    const { still, means } = { still: this.still.value, means: this.means };
    if (!still || !means || means.empty) return;
    // An engine that ended is noticed by whoever opened it; a still that was closed meanwhile needs no reading.
    const reading = await readStill(means, still, this.regionOf(still.bitmap)).catch(() => null);
    if (reading && still === this.still.value && means === this.means) this.reading.value = reading;
  }

  /** Show a new answer at once; figures that move under the same answer only as often as they can be read. */
  private async draw(reading: Reading): Promise<void> {
    const now = performance.now();
    if (sameAnswer(reading, this.reading.value) && now - this.drew < REDRAW_MS) return;
    this.drew = now;
    this.reading.value = reading;
    await this.drawn();
  }

  /** Run the live loop while, and only while, there is something live to look at. */
  private watch(): void {
    this.live?.stop();
    this.live = null;
    const shown = this.camera.state.value.kind === 'live' && !this.still.value && !this.lesson.value;
    if (!shown || !this.means || this.means.empty) return;
    this.live = new Live({
      ...this.means,
      video: this.video,
      regionOf: (size) => this.regionOf(size),
      show: (reading) => this.draw(reading),
    });
  }
}
