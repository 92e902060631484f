/** A label that does not flicker between two that are nearly equal. */

export interface HysteresisSettings {
  /** How far another candidate must lead the one that is shown to replace it at once. */
  lead: number;
  /** How long a smaller lead must last to do so, milliseconds. */
  patienceMs: number;
}

/** What is carried from frame to frame; K names a candidate, null stands for "unknown". */
export interface Shown<K> {
  key: K | null;
  /** Who would replace it, and since when. */
  rival: { key: K | null; since: number } | null;
}

export const HYSTERESIS: HysteresisSettings = { lead: 0.25, patienceMs: 400 };

/**
 * Choose which candidate to show.
 *
 * @param previous null at the start.
 * @param scores of the candidates, best first; empty when nothing fits. Confidences or cosines.
 * @param at when, milliseconds.
 */
export function settle<K>(
  previous: Shown<K> | null,
  scores: readonly { key: K; score: number }[],
  at: number,
  settings: HysteresisSettings = HYSTERESIS,
): Shown<K> {
  const best = scores[0];
  const key = best?.key ?? null;
  if (previous === null || previous.key === key) return { key, rival: null };
  // "Unknown" has no score to lead by: it comes and goes by patience alone.
  const shown = scores.find((candidate) => candidate.key === previous.key);
  if (best && shown && best.score - shown.score >= settings.lead) return { key, rival: null };
  const since = previous.rival?.key === key ? previous.rival.since : at;
  if (at - since >= settings.patienceMs) return { key, rival: null };
  return { key: previous.key, rival: { key, since } };
}
