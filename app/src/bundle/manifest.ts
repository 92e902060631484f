/** What a bundle says about itself; docs/bundle.md is the format. Field names are the file's. */

export interface Preprocessing {
  resize: number | null;
  crop: [number, number];
  interpolation: 'nearest' | 'bilinear' | 'bicubic';
  mean: [number, number, number];
  std: [number, number, number];
}

export interface Spec {
  name: string;
  task: string;
  input_shape: [number, number, number];
  preprocessing: Preprocessing;
  class_ids: string[];
  labels: string[];
}

/** How logits become confidences, and when nothing fits. */
export interface Confidence {
  /** Logits are divided by it before softmax. */
  temperature: number;
  /** An image whose largest logit (undivided) is below it shows nothing that the model knows; null never says so. */
  unknown_below: number | null;
}

/** How a graph's second output, `embedding`, becomes a vector to search with: (embedding - mean) @ rows, to unit length. */
export interface Embedding {
  /** Length of the graph's output. */
  features: number;
  /** Length after whitening, at most 256. */
  dimensions: number;
  /** The member that holds, little-endian: mean float32[features], scale float32[dimensions], codes int8[dimensions][features]. */
  whitening: string;
}

export interface GraphEntry {
  name: string;
  graph: string;
  weights: string | null;
  session: Record<string, string>;
  parameters: number;
  macs: number;
  measurement: Record<string, unknown>;
}

export interface Member {
  size: number;
  sha256: string;
  codec: 'none' | 'zstd' | 'tensors';
  stored_size: number;
}

export interface Manifest {
  schema_version: number;
  created_with: string;
  created: string;
  spec: Spec;
  graphs: GraphEntry[];
  preferred: string;
  confidence: Confidence;
  embedding: Embedding | null;
  members: Record<string, Member>;
  fingerprint: string;
}
