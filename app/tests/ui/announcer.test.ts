import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Announcer, SETTLED_MS } from '../../src/ui/announcer.ts';
import type { Reading } from '../../src/ui/reading.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const known = (label: string, score = 0.9): Reading => ({ kind: 'known', candidates: [{ key: label, label, score }] });

test('says an answer once, when it has settled', () => {
  const said = vi.fn();
  const announcer = new Announcer(said);
  for (let frame = 0; frame < 60; frame++) {
    announcer.hear(known('cup', 0.5 + frame / 200));
    vi.advanceTimersByTime(33);
  }
  expect(said).toHaveBeenCalledOnce();
});

test('does not say what only flickers by', () => {
  const said = vi.fn();
  const announcer = new Announcer(said);
  for (let frame = 0; frame < 20; frame++) {
    announcer.hear(known(frame % 2 ? 'cup' : 'bowl'));
    vi.advanceTimersByTime(SETTLED_MS / 3);
  }
  expect(said).not.toHaveBeenCalled();
});

test('does not repeat itself when an answer comes back, and is silent about nothing', () => {
  const said = vi.fn();
  const announcer = new Announcer(said);
  for (const reading of [known('cup'), { kind: 'waiting' } as const, known('cup')]) {
    announcer.hear(reading);
    vi.advanceTimersByTime(SETTLED_MS);
  }
  expect(said).toHaveBeenCalledOnce();
});
