/** From logits to answers. */

export interface Answer {
  index: number;
  label: string;
  classId: string;
  /** Calibrated, 0 to 1. */
  confidence: number;
}
