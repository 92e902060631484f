// @vitest-environment happy-dom
import { expect, test } from 'vitest';
import { judge } from '../../src/ui/lesson.ts';

const at = (degrees: number) => {
  const angle = (degrees * Math.PI) / 180;
  return Float32Array.of(Math.cos(angle), Math.sin(angle));
};

test.each([
  ['the first is good', 0, [], 'good'],
  ['another side is good', 30, [0], 'good'],
  ['the same side teaches nothing', 5, [60, 0], 'same-view'],
  ['far from all others is doubtful', 90, [0, -10], 'other-thing'],
  ['near one of the others is good', 90, [0, 45], 'good'],
] as const)('%s', (_, shot, others, verdict) => expect(judge(at(shot), others.map(at))).toBe(verdict));
