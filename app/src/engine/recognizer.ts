/** From a bundle to answers: what the engine worker does, free of the browser's frames. */
import type { Embedding, Manifest } from '../bundle/manifest.ts';
import { openBundle } from '../bundle/open.ts';
import { FailureError } from '../failure.ts';
import { answers, isUnknown } from '../recognition/answers.ts';
import type { GalleryFile } from '../recognition/gallery.ts';
import { Matcher } from '../recognition/matcher.ts';
import type { MakeRows } from '../recognition/search.ts';
import { Whitening } from '../recognition/whitening.ts';
import { normalise, normaliseTable, type Input } from '../vision/normalise.ts';
import { planOf, type Plan } from '../vision/plan.ts';
import type { Resizer } from '../vision/resize.ts';
import type { Look, Region, Wants, Way } from './protocol.ts';
import { Session, type Outputs } from './session.ts';

/** How many matches a look brings. */
const MATCHES = 5;

/** The inner loops, in SIMD or plain. */
export interface Kernels {
  resizer: Resizer;
  makeRows: MakeRows;
}

export class Recognizer {
  readonly #table: Input;
  #matcher: Matcher | null = null;
  #plan: { key: string; plan: Plan } | null = null;

  private constructor(
    readonly manifest: Manifest,
    private readonly session: Session,
    private readonly whitening: Whitening | null,
    private readonly kernels: Kernels,
  ) {
    this.#table = normaliseTable(manifest.spec.preprocessing, session.inputType);
  }

  /**
   * Open a bundle.
   *
   * @param bundle a .lens file.
   * @param runtime the runtime's .wasm; `glue` is where its .mjs is.
   * @throws FailureError when the bundle is damaged, or needs what is not here, or the runtime cannot open it.
   */
  static async open(bundle: Blob, runtime: ArrayBuffer, glue: string, way: Way, kernels: Kernels): Promise<Recognizer> {
    const opened = await openBundle(bundle);
    const { spec, embedding } = opened.manifest;
    if (spec.task !== 'classification') {
      throw new FailureError('unsupported', `this app does classification, the bundle needs ${spec.task}; update it`);
    }
    if (spec.input_shape[0] !== 3) {
      throw new FailureError('unsupported', `expected a model of 3 colours, got ${spec.input_shape[0]} channels`);
    }
    const session = await Session.open(await opened.graph(way.graph), runtime, glue, way, spec.input_shape);
    if (embedding && !session.embeds) {
      throw new FailureError('corrupt', `graph ${way.graph} has no output "embedding", which the manifest names`);
    }
    const whitening = embedding && new Whitening(await opened.read(embedding.whitening), embedding);
    return new Recognizer(opened.manifest, session, whitening, kernels);
  }

  /** Length of an embedding, 0 when the bundle has none. */
  get dimensions(): number {
    return this.manifest.embedding?.dimensions ?? 0;
  }

  /** What must be read of a frame, and what then happens to it; remembered while frames are alike. */
  plan(frame: { width: number; height: number }, region: Region | null): Plan {
    const key = JSON.stringify([frame.width, frame.height, region]);
    if (this.#plan?.key !== key) this.#plan = { key, plan: planOf(frame, region, this.manifest.spec.preprocessing) };
    return this.#plan.plan;
  }

  /**
   * Name what pixels show.
   *
   * @param pixels RGBA of `plan.source`.
   * @param grab milliseconds that they took to come by.
   */
  async look(pixels: Uint8ClampedArray, plan: Plan, wants: Wants, grab: number): Promise<Look> {
    const start = performance.now();
    const [, height, width] = this.manifest.spec.input_shape;
    normalise(this.kernels.resizer.resize(pixels, plan), width, height, this.#table, this.session.input);
    const ready = performance.now();
    const searching = this.#matcher !== null;
    const outputs = await this.session.run({ embedding: searching || Boolean(wants.embedding && this.whitening) });
    const done = performance.now();
    const found = this.#read(outputs, wants);
    const end = performance.now();
    return { ...found, stages: { grab, preprocess: ready - start, inference: done - ready, postprocess: end - done } };
  }

  /** Search a gallery from the next look on, or none. Throws FailureError "gallery" when it is of another bundle. */
  setGallery(gallery: GalleryFile | null): void {
    if (gallery === null) {
      this.#matcher = null;
      return;
    }
    const { fingerprint, embedding } = this.manifest;
    const { backbone } = gallery;
    if (!embedding) throw new FailureError('gallery', 'this model gives no embeddings; use one that does');
    if (backbone.fingerprint !== fingerprint || backbone.dimensions !== embedding.dimensions) {
      throw new FailureError(
        'gallery',
        `the gallery is of the model ${backbone.name}, not of this one; open that model`,
      );
    }
    this.#matcher = new Matcher(gallery, this.kernels.makeRows);
  }

  /**
   * Run the model on its last input (at first: zeros); milliseconds of each run.
   *
   * @throws FailureError "runtime" when it gives what is no number: half precision overflows on some GPUs, and such a
   * way must not win a race.
   */
  async time(runs: number): Promise<number[]> {
    const milliseconds: number[] = [];
    for (let run = 0; run < runs; run += 1) {
      const start = performance.now();
      const { logits } = await this.session.run({ embedding: false });
      milliseconds.push(performance.now() - start);
      if (!logits.every(Number.isFinite)) throw new FailureError('runtime', 'the model gave NaN or an infinity here');
    }
    return milliseconds;
  }

  #read({ logits, embedding }: Outputs, wants: Wants): Omit<Look, 'stages'> {
    const { spec, confidence } = this.manifest;
    const classes = spec.class_ids.length || spec.labels.length;
    if (logits.length < 2 || (classes && classes !== logits.length)) {
      throw new FailureError('unsupported', `expected ${classes || 'some'} outputs, one a class, got ${logits.length}`);
    }
    const vector = embedding && this.whitening ? this.#whiten(embedding, this.whitening.shape) : null;
    return {
      answers: answers(logits, spec, confidence, wants.topK),
      unknown: isUnknown(logits, confidence),
      logits: wants.logits ? logits : null,
      embedding: wants.embedding ? vector : null,
      matches: vector && this.#matcher ? this.#matcher.search(vector, MATCHES) : null,
    };
  }

  #whiten(embedding: Float32Array, { features }: Embedding): Float32Array {
    if (embedding.length === features) return this.whitening!.apply(embedding);
    throw new FailureError('unsupported', `expected an embedding of ${features} features, got ${embedding.length}`);
  }
}
