/** Open and run an ONNX graph in onnxruntime-web. */
import type * as Ort from 'onnxruntime-web';
import type { GraphFiles } from '../bundle/open.ts';
import { FailureError, failureOf } from '../failure.ts';
import { halfValue, type Input } from '../vision/normalise.ts';
import type { Way } from './protocol.ts';

/** What every graph calls its external data. */
const WEIGHTS_NAME = 'weights.bin';
const EMBEDDING = 'embedding';

/** A function that uses SIMD, without which the runtime does not start: browsers since 2021, Safari since 2023. */
const SIMD_PROBE = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

export interface Outputs {
  /** (classes,) */
  logits: Float32Array;
  /** (features,), null when not asked for. */
  embedding: Float32Array | null;
}

/** An open graph: one input of images, (1, channels, height, width). */
export class Session {
  readonly #session: Ort.InferenceSession;
  readonly #feeds: Record<string, Ort.Tensor>;
  readonly #logits: string;
  /** The model's input; fill it, then `run`. */
  readonly input: Input;
  readonly inputType: 'float32' | 'float16';

  private constructor(ort: typeof Ort, session: Ort.InferenceSession, shape: readonly [number, number, number]) {
    this.#session = session;
    const [input, ...others] = session.inputMetadata;
    if (!input?.isTensor || others.length || (input.type !== 'float32' && input.type !== 'float16')) {
      const got = session.inputMetadata.map((meta) => `${meta.name} ${meta.isTensor ? meta.type : 'sequence'}`);
      throw new FailureError('unsupported', `expected one input of floats, got ${got.join(', ') || 'none'}`);
    }
    this.inputType = input.type;
    const length = shape.reduce((product, side) => product * side, 1);
    this.input = input.type === 'float32' ? new Float32Array(length) : new Uint16Array(length);
    // One tensor for all frames: it refers to `input`, which is read anew at each run.
    this.#feeds = { [input.name]: new ort.Tensor(input.type, this.input, [1, ...shape]) };
    this.#logits = session.outputNames[0]!;
  }

  /**
   * Start the runtime and open a graph in it. A worker does so once: the runtime keeps its first settings.
   *
   * @param runtime the runtime's .wasm.
   * @param glue where its .mjs is, absolute.
   * @param shape channels, height, width of the input.
   */
  static async open(
    { graph, weights, session }: GraphFiles,
    runtime: ArrayBuffer,
    glue: string,
    { provider, threads }: Way,
    shape: readonly [number, number, number],
  ): Promise<Session> {
    if (!WebAssembly.validate(SIMD_PROBE)) {
      throw new FailureError('unsupported', 'expected a browser with WebAssembly SIMD, got an older one; update it');
    }
    try {
      // Two entries, so that a phone that stays with wasm never loads what drives the GPU.
      const ort = provider === 'webgpu' ? await import('onnxruntime-web/webgpu') : await import('onnxruntime-web/wasm');
      ort.env.logLevel = 'error';
      ort.env.wasm.wasmBinary = runtime;
      ort.env.wasm.wasmPaths = { mjs: glue };
      ort.env.wasm.numThreads = threads;
      const options: Ort.InferenceSession.SessionOptions = {
        executionProviders: [provider],
        externalData: [{ path: WEIGHTS_NAME, data: weights }],
        extra: session,
        // Errors only: at "warning" it prints a line for each node it moves to the CPU.
        logSeverityLevel: 3,
      };
      const opened = await ort.InferenceSession.create(graph, options);
      // It runs now, so its 14 MB need not lie in memory a second time.
      delete ort.env.wasm.wasmBinary;
      return new Session(ort, opened, shape);
    } catch (thrown) {
      throw asError(thrown, 'ONNX Runtime cannot open the graph');
    }
  }

  /** Compute. Throws FailureError "runtime" or "memory". */
  async run({ embedding }: { embedding: boolean }): Promise<Outputs> {
    const wanted = embedding ? [this.#logits, EMBEDDING] : [this.#logits];
    try {
      const found = await this.#session.run(this.#feeds, wanted);
      return {
        logits: floats(found[this.#logits]!),
        embedding: embedding ? floats(found[EMBEDDING]!) : null,
      };
    } catch (thrown) {
      throw asError(thrown, 'ONNX Runtime failed');
    }
  }

  /** Whether the graph gives embeddings. */
  get embeds(): boolean {
    return this.#session.outputNames.includes(EMBEDDING);
  }
}

/** Of one image's output, (1, n), its numbers. */
function floats(tensor: Ort.Tensor): Float32Array {
  const { data, dims, type } = tensor;
  if (dims.length !== 2 || dims[0] !== 1) {
    throw new FailureError('unsupported', `expected an output (1, n), got (${dims.join(', ')}); export the model so`);
  }
  if (data instanceof Float32Array) return data;
  if (type === 'float16')
    return Float32Array.from(data as ArrayLike<number>, data instanceof Uint16Array ? halfValue : Number);
  throw new FailureError('unsupported', `expected outputs of floats, got ${type}; export the model so`);
}

function asError(thrown: unknown, what: string): FailureError {
  if (thrown instanceof FailureError) return thrown;
  const { code, detail } = failureOf(thrown);
  return new FailureError(code, `${what}: ${detail.split('\n')[0]!.slice(0, 300)}`, { cause: thrown });
}
