// @vitest-environment happy-dom
import { afterEach, expect, test, vi } from 'vitest';
import { language } from '../../src/i18n/speech.ts';
import { AnswerCard } from '../../src/ui/answer.ts';
import { capital } from '../../src/ui/reading.ts';
import { show, words } from './show.ts';

afterEach(() => (language.value = 'en'));

const candidates = [
  { key: '1', label: 'espresso', score: 0.87 },
  { key: '2', label: 'cup', score: 0.04 },
];

test('the answer, how sure, and no more', async () => {
  const card = await show(new AnswerCard(), { reading: { kind: 'known', candidates } });
  expect(words(card)).toBe('Espresso 87%');
  expect(card.renderRoot.querySelector('[lang=en]')).not.toBeNull();
});

test('unfolds to what else it may be, by a tap', async () => {
  const card = await show(new AnswerCard(), { reading: { kind: 'known', candidates } });
  const fold = vi.fn();
  card.addEventListener('fold', fold);
  const head = card.renderRoot.querySelector('button')!;
  expect(head.getAttribute('aria-expanded')).toBe('false');
  head.click();
  expect(fold).toHaveBeenCalledOnce();
  card.expanded = true;
  await card.updateComplete;
  expect(words(card)).toContain('Cup 4%');
});

test('says that it is not sure, with the nearest guess small, in any language at once', async () => {
  const card = await show(new AnswerCard(), { reading: { kind: 'unknown', nearest: candidates } });
  expect(words(card)).toBe('Not sure Closest: espresso 87%');
  language.value = 'de';
  await card.updateComplete;
  expect(words(card)).toContain('Nicht sicher');
});

test('unknown without a single guess, empty, and waiting', async () => {
  const card = await show(new AnswerCard(), { reading: { kind: 'unknown', nearest: [] } });
  expect(words(card)).toBe('Not sure');
  await show(card, { reading: { kind: 'empty' }, mode: 'landmarks' });
  expect(words(card)).toContain('No landmarks yet');
  await show(card, { reading: { kind: 'waiting' } });
  expect(words(card)).toContain('Point at something');
});

test('own names have no language, and nothing in them is markup', async () => {
  const label = '<img src=x onerror=alert(1)>';
  const card = await show(new AnswerCard(), {
    reading: { kind: 'known', candidates: [{ key: '1', label, score: 0.9 }] },
    mode: 'products',
  });
  expect(card.renderRoot.querySelector('img')).toBeNull();
  expect(card.renderRoot.querySelector('[lang]')).toBeNull();
});

test.each([
  ['espresso', 'Espresso'],
  ['iPod', 'iPod'],
  ['éclair', 'Éclair'],
  ['', ''],
])('"%s" is written "%s"', (label, written) => expect(capital(label)).toBe(written));
