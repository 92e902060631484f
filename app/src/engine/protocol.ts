/**
 * What the page and the engine worker say to each other.
 *
 * One worker is one way to run: ONNX Runtime fixes its threads when its wasm starts, so another number of threads, or
 * another provider, is another worker. Frames go in as transferables, one at a time; of those that come while one is
 * worked on, only the newest waits (see client.ts), so answers never lag behind the camera.
 */
import type { Spec, Confidence } from '../bundle/manifest.ts';
import type { Failure } from '../failure.ts';
import type { GalleryFile, Match } from '../recognition/gallery.ts';
import type { Answer } from '../recognition/answers.ts';

export type { Failure };

/** One way to run a bundle. */
export interface Way {
  /** A graph of the bundle: "int8", "float", "fp32", "half". */
  graph: string;
  provider: 'wasm' | 'webgpu';
  /** Intra-op threads; 1 where the page is not cross-origin isolated, and with WebGPU. */
  threads: number;
}

/** A rectangle of the frame, in its pixels. */
export interface Region {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Milliseconds that one frame took, by stage. */
export interface Stages {
  /** From the frame to pixels that can be read. */
  grab: number;
  preprocess: number;
  inference: number;
  /** Answers, whitening, search. */
  postprocess: number;
}

/** What comes of one frame. */
export interface Look {
  /** Most probable first; confidences are calibrated. */
  answers: Answer[];
  /** Nothing that the model knows (see Confidence.unknown_below). */
  unknown: boolean;
  /** Raw outputs, (classes,), only when asked for. */
  logits: Float32Array | null;
  /** Whitened, unit length, (dimensions,), null when the bundle has none or it was not asked for. */
  embedding: Float32Array | null;
  /** Of the gallery that was set last, best first, or null where none is set. */
  matches: Match[] | null;
  stages: Stages;
}

/** What to make of a frame besides answers. */
export interface Wants {
  topK: number;
  logits?: boolean;
  embedding?: boolean;
}

export type Request =
  | {
      kind: 'open';
      id: number;
      /** The .lens file, which is read as it is decoded. */
      bundle: Blob;
      /** The runtime's .wasm, copied. */
      runtime: ArrayBuffer;
      /** Where the runtime's .mjs glue is, same origin, absolute. */
      glue: string;
      way: Way;
    }
  | { kind: 'look'; id: number; frame: ImageBitmap | VideoFrame; region: Region | null; wants: Wants }
  /** Pixels that are decoded already, RGBA, for tests and photos that the page shrank. */
  | { kind: 'pixels'; id: number; pixels: Uint8ClampedArray; width: number; height: number; wants: Wants }
  | { kind: 'gallery'; id: number; gallery: GalleryFile | null }
  /** Run the model `runs` times on its own last input (or zeros), each timed, for races. */
  | { kind: 'time'; id: number; runs: number };

export type Reply =
  | {
      kind: 'opened';
      id: number;
      spec: Spec;
      confidence: Confidence;
      dimensions: number;
      fingerprint: string;
      loadMs: number;
    }
  | { kind: 'looked'; id: number; look: Look }
  | { kind: 'set'; id: number }
  | { kind: 'timed'; id: number; milliseconds: number[] }
  | { kind: 'failed'; id: number; error: Failure };
