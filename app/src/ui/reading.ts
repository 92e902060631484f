/** From looks at single frames to what the page says: steady, and honest about what it does not know. */
import type { Opened } from '../engine/client.ts';
import type { Look } from '../engine/protocol.ts';
import { answers, isUnknown } from '../recognition/answers.ts';
import { settle, type Shown } from '../recognition/hysteresis.ts';
import { smooth, SMOOTHING, type Smoothed } from '../recognition/smoothing.ts';

/** One thing that it may be. */
export interface Candidate {
  key: string;
  label: string;
  /** Calibrated confidence, or the cosine of a gallery's match; 0 to 1. */
  score: number;
}

export type Reading =
  | { kind: 'waiting' }
  /** A gallery mode without a single entry to compare with. */
  | { kind: 'empty' }
  /** The answer first, others after it. */
  | { kind: 'known'; candidates: Candidate[] }
  /** Nothing fits; the nearest guesses, best first. */
  | { kind: 'unknown'; nearest: Candidate[] };

export const TOP_K = 5;

/** Reads looks in the order of their frames. */
export class Reader {
  private smoothed: Smoothed | null = null;
  private shown: Shown<string> | null = null;

  constructor(private readonly opened: Pick<Opened, 'spec' | 'confidence'>) {}

  /** Forget the past: another scene, camera or mode. */
  reset(): void {
    this.smoothed = null;
    this.shown = null;
  }

  /** What to say after `look`, whose frame was taken at `at` milliseconds. Needs its logits, or its matches. */
  read(look: Look, at: number): Reading {
    return look.matches ? this.readMatches(look, at) : this.readLogits(look, at);
  }

  private readLogits(look: Look, at: number): Reading {
    const { spec, confidence } = this.opened;
    if (look.logits) {
      this.smoothed = smooth(this.smoothed, look.logits, at, { ...SMOOTHING, temperature: confidence.temperature });
    }
    const logits = this.smoothed?.logits;
    const best = logits ? answers(logits, spec, confidence, TOP_K) : look.answers;
    const unknown = logits ? isUnknown(logits, confidence) : look.unknown;
    const candidates = best.map(({ index, label, confidence: score }) => ({ key: String(index), label, score }));
    return this.steady(candidates, unknown ? [] : candidates, at);
  }

  private readMatches(look: Look, at: number): Reading {
    const matches = look.matches ?? [];
    const candidates = matches.map(({ id, label, cosine }) => ({
      key: id,
      label,
      score: Math.max(0, Math.min(1, cosine)),
    }));
    return this.steady(candidates, matches[0]?.accepted ? candidates : [], at);
  }

  private steady(candidates: Candidate[], fitting: Candidate[], at: number): Reading {
    this.shown = settle(this.shown, fitting, at);
    const { key } = this.shown;
    const answer = candidates.find((candidate) => candidate.key === key);
    if (!answer) return { kind: 'unknown', nearest: candidates };
    return { kind: 'known', candidates: [answer, ...candidates.filter((candidate) => candidate !== answer)] };
  }
}

/** Whether two readings give the same answer, whatever the confidence: what is announced, felt and animated. */
export function sameAnswer(a: Reading, b: Reading): boolean {
  if (a.kind === 'known' && b.kind === 'known') return a.candidates[0]?.key === b.candidates[0]?.key;
  return a.kind === b.kind;
}

/** "espresso" -> "Espresso", as a heading begins; "iPod" and names stay as they are written. */
export function capital(label: string): string {
  return label === label.toLowerCase() ? label.charAt(0).toUpperCase() + label.slice(1) : label;
}
