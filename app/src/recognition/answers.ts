/** From logits to answers, as `pocketlens.tasks.Classification` gives them. */
import type { Confidence, Spec } from '../bundle/manifest.ts';
import { largest } from './largest.ts';

export interface Answer {
  index: number;
  label: string;
  classId: string;
  /** Calibrated, 0 to 1. */
  confidence: number;
}

/** What stands for an infinite logit in a softmax: the largest float32. */
const LARGEST = 3.4028234663852886e38;

/**
 * The most probable classes, by softmax of logits / temperature; equal logits come in the order of their classes.
 *
 * @param logits (classes,). One that is NaN has confidence 0.
 * @param topK how many, at least 1; at most all classes come back.
 */
export function answers(logits: ArrayLike<number>, spec: Spec, confidence: Confidence, topK: number): Answer[] {
  const { temperature } = confidence;
  const values = Float64Array.from(logits, finite);
  const best = values.reduce((a, b) => Math.max(a, b), -Infinity);
  let total = 0;
  for (const value of values) total += Math.exp((value - best) / temperature);
  return largest(values, topK).map((index) => ({
    index,
    label: labelOf(spec, index),
    classId: spec.class_ids[index] ?? '',
    // Without a single finite logit there is nothing to be confident of.
    confidence: best === -Infinity ? 0 : Math.exp((values[index]! - best) / temperature) / total,
  }));
}

/** Whether an image shows nothing that the model knows: its largest logit is below the bundle's bound, or none is a number. */
export function isUnknown(logits: ArrayLike<number>, confidence: Confidence): boolean {
  let largest = -Infinity;
  for (let index = 0; index < logits.length; index += 1) largest = Math.max(largest, finite(logits[index]!));
  return largest === -Infinity || (confidence.unknown_below !== null && largest < confidence.unknown_below);
}

/** The readable name of an output. */
export function labelOf(spec: Spec, index: number): string {
  const names = spec.labels.length ? spec.labels : spec.class_ids;
  return names[index] ?? `class ${index}`;
}

function finite(logit: number): number {
  if (Number.isNaN(logit)) return -Infinity;
  return logit === Infinity ? LARGEST : logit;
}
