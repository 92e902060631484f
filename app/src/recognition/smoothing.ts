/** A steady answer from a shaking hand: logits averaged over time. */

export interface SmoothingSettings {
  /** Time after which an old frame counts 1/e; independent of the frame rate. */
  timeConstantMs: number;
  /**
   * Two distributions whose overlap (Bhattacharyya coefficient, 0 to 1) is below this show different scenes.
   */
  cutBelow: number;
  temperature: number;
}

/** What is carried from frame to frame. */
export interface Smoothed {
  /** The average, (classes,); answers and unknown are read from it as from one frame's. */
  logits: Float64Array;
  /** When the last frame was taken, milliseconds. */
  at: number;
  /** Whether the last frame was at odds with the average and so passed over; a second one makes a cut. */
  odd: boolean;
}

export const SMOOTHING: Omit<SmoothingSettings, 'temperature'> = { timeConstantMs: 250, cutBelow: 0.25 };

/**
 * Add a frame to the average.
 *
 * The exponential average of logits is, after softmax, that of log-probabilities (they differ by a constant a frame),
 * and unlike it keeps the size of the largest logit, which says what is unknown. One frame at odds with the rest
 * (a blur, a flash) is passed over; a second in a row is a new scene, and the average begins anew with it.
 *
 * @param previous null at the start and whenever the average must not go on (another camera, another model).
 * @param logits (classes,). A frame with a logit that is no number is passed over.
 * @param at when the frame was taken, milliseconds. Time that runs backwards counts as none.
 */
export function smooth(
  previous: Smoothed | null,
  logits: ArrayLike<number>,
  at: number,
  settings: SmoothingSettings,
): Smoothed | null {
  const frame = Float64Array.from(logits);
  if (!frame.every(Number.isFinite)) return previous;
  if (previous === null || previous.logits.length !== frame.length) return { logits: frame, at, odd: false };
  const elapsed = Math.max(0, at - previous.at);
  if (overlap(previous.logits, frame, settings.temperature) < settings.cutBelow) {
    // What is older than the time constant hardly counts, so nothing is lost by believing one frame.
    const cut = previous.odd || elapsed >= settings.timeConstantMs;
    return cut ? { logits: frame, at, odd: false } : { ...previous, odd: true };
  }
  const share = 1 - Math.exp(-elapsed / settings.timeConstantMs);
  return { logits: mean(previous.logits, frame, share), at: previous.at + elapsed, odd: false };
}

/** a + share * (b - a). */
function mean(a: Float64Array, b: Float64Array, share: number): Float64Array {
  return a.map((value, index) => value + share * (b[index]! - value));
}

/** sum sqrt(p q) of the distributions softmax(a / temperature) and softmax(b / temperature). */
function overlap(a: Float64Array, b: Float64Array, temperature: number): number {
  const [p, q] = [softmax(a, temperature), softmax(b, temperature)];
  return p.reduce((sum, value, index) => sum + Math.sqrt(value * q[index]!), 0);
}

function softmax(logits: Float64Array, temperature: number): Float64Array {
  const best = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = logits.map((logit) => Math.exp((logit - best) / temperature));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}
