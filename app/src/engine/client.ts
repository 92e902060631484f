/** The page's side of an engine worker: open one, show it frames, close it. */
import { FailureError, failureOf } from '../failure.ts';
import type { GalleryFile } from '../recognition/gallery.ts';
import type { Look, Region, Reply, Request, Wants, Way } from './protocol.ts';

/** What an engine is opened with. */
export interface Source {
  /** A .lens file. */
  bundle: Blob;
  /** The runtime's .wasm, which is copied, so that it serves for the next one. */
  runtime: ArrayBuffer;
  /** Where the runtime's .mjs is: same origin, absolute. */
  glue: string;
  way: Way;
}

/** What an engine says of itself once it is open. */
export type Opened = Omit<Extract<Reply, { kind: 'opened' }>, 'kind' | 'id'>;

/** Of a Worker, what the client uses; tests put a channel in its place. */
export interface Port {
  postMessage(message: Request, transfer: Transferable[]): void;
  terminate(): void;
  onmessage: ((event: MessageEvent<Reply>) => void) | null;
  onmessageerror: ((event: MessageEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
}

type Frame = ImageBitmap | VideoFrame;
type Call<R extends Request = Request> = R extends Request ? Omit<R, 'id'> : never;

interface Pending {
  resolve(reply: Reply): void;
  reject(error: FailureError): void;
  ticks: number;
}

interface Waiting {
  frame: Frame;
  region: Region | null;
  wants: Wants;
  resolve(look: Look | null): void;
  reject(error: unknown): void;
}

/** How often a worker is looked after, and how many looks it may stay silent. A browser tells nobody that it killed
 * a worker for memory. Looks are counted, not seconds: a page that slept for an hour has not waited. */
const TICK_MS = 1000;
const PATIENCE_TICKS = 60;

/**
 * An open model in a worker of its own. Every promise ends: when the worker dies, runs out of memory or falls
 * silent, what is pending and all that comes later rejects with a FailureError.
 */
export class Engine {
  readonly way: Way;
  readonly #port: Port;
  readonly #pending = new Map<number, Pending>();
  #opened: Opened | null = null;
  #next = 0;
  #looking = false;
  #waiting: Waiting | null = null;
  #ended: FailureError | null = null;
  #watch: ReturnType<typeof setInterval> | null = null;

  private constructor(port: Port, way: Way) {
    this.way = way;
    this.#port = port;
    port.onmessage = ({ data }) => this.#settle(data);
    port.onmessageerror = () => this.#end(new FailureError('runtime', 'a message of the engine could not be read'));
    port.onerror = (event) => {
      event.preventDefault?.();
      const { code, detail } = failureOf(event.message || 'the engine worker did not start');
      this.#end(new FailureError(code, detail));
    };
  }

  /**
   * Start a worker and open a bundle in it.
   *
   * @param source what to run, and how.
   * @param spawn makes the worker.
   * @throws FailureError, whose code says whether the bundle, the runtime or the memory was to blame.
   */
  static async open(source: Source, spawn: () => Port = spawnWorker): Promise<Engine> {
    const engine = new Engine(spawn(), source.way);
    try {
      const { kind: _, id: __, ...opened } = await engine.#ask<'opened'>({ kind: 'open', ...source });
      engine.#opened = opened;
    } catch (error) {
      engine.close();
      throw error;
    }
    return engine;
  }

  /** The bundle's spec, fingerprint and so on. */
  get opened(): Opened {
    if (this.#opened === null) throw new FailureError('runtime', 'the engine is not open; await Engine.open first');
    return this.#opened;
  }

  /**
   * Look at a frame, which is closed whatever happens. One is worked on at a time; of those that come meanwhile only
   * the newest waits.
   *
   * @param region the part to look at, or null for all of it.
   * @returns null when a newer frame took this one's place.
   */
  look(frame: Frame, region: Region | null, wants: Wants): Promise<Look | null> {
    return new Promise((resolve, reject) => {
      this.#drop(null);
      this.#waiting = { frame, region, wants, resolve, reject };
      if (this.#ended) this.#drop(this.#ended);
      else if (!this.#looking) void this.#work();
    });
  }

  /** Look at pixels that are decoded already: RGBA, (height, width, 4). They are copied. */
  async pixels(pixels: Uint8ClampedArray, width: number, height: number, wants: Wants): Promise<Look> {
    return (await this.#ask<'looked'>({ kind: 'pixels', pixels, width, height, wants })).look;
  }

  /** Search this gallery from the next frame on, or none. Throws FailureError "gallery" when it is of another bundle. */
  async setGallery(gallery: GalleryFile | null): Promise<void> {
    await this.#ask<'set'>({ kind: 'gallery', gallery });
  }

  /** Run the model `runs` times; milliseconds of each. */
  async time(runs: number): Promise<number[]> {
    return (await this.#ask<'timed'>({ kind: 'time', runs })).milliseconds;
  }

  /** Give everything back. What is pending rejects. */
  close(): void {
    this.#end(new FailureError('runtime', 'the engine was closed; open another'));
  }

  async #work(): Promise<void> {
    this.#looking = true;
    for (let next = this.#take(); next; next = this.#take()) {
      const { frame, region, wants } = next;
      try {
        next.resolve((await this.#ask<'looked'>({ kind: 'look', frame, region, wants }, [frame])).look);
      } catch (error) {
        // A frame that was not handed over is still ours; closing one that was does nothing.
        frame.close();
        next.reject(error);
      }
    }
    this.#looking = false;
  }

  #take(): Waiting | null {
    const next = this.#waiting;
    this.#waiting = null;
    return next;
  }

  #drop(error: FailureError | null): void {
    const dropped = this.#take();
    if (!dropped) return;
    dropped.frame.close();
    if (error) dropped.reject(error);
    else dropped.resolve(null);
  }

  #ask<K extends Reply['kind']>(call: Call, transfer: Transferable[] = []): Promise<Extract<Reply, { kind: K }>> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      const id = this.#next++;
      this.#pending.set(id, { resolve: (reply) => resolve(reply as Extract<Reply, { kind: K }>), reject, ticks: 0 });
      this.#watch ??= setInterval(() => this.#tick(), TICK_MS);
      try {
        this.#port.postMessage({ ...call, id } as Request, transfer);
      } catch (thrown) {
        this.#forget(id);
        const { code, detail } = failureOf(thrown, 'frame');
        reject(new FailureError(code, detail));
      }
    });
  }

  #settle(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (!pending) return;
    this.#forget(reply.id);
    // Whatever it says, it lives: what waits behind this reply gets its full patience again.
    for (const other of this.#pending.values()) other.ticks = 0;
    if (reply.kind === 'failed') pending.reject(new FailureError(reply.error.code, reply.error.detail));
    else pending.resolve(reply);
  }

  #forget(id: number): void {
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#rest();
  }

  #rest(): void {
    if (this.#watch !== null) clearInterval(this.#watch);
    this.#watch = null;
  }

  #tick(): void {
    for (const pending of this.#pending.values()) {
      pending.ticks += 1;
      if (pending.ticks > PATIENCE_TICKS) {
        const detail = `the engine gave no sign for ${PATIENCE_TICKS} s; the browser may have ended it for memory`;
        return this.#end(new FailureError('memory', detail));
      }
    }
  }

  #end(error: FailureError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#rest();
    this.#port.terminate();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(error);
    this.#drop(error);
  }
}

function spawnWorker(): Port {
  return new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'engine' });
}
