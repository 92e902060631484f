import { afterEach, describe, expect, test } from 'vitest';
import { bestLanguage, LANGUAGES, type Language } from '../../src/i18n/languages.ts';
import {
  bytes,
  confidence,
  DICTIONARIES,
  language,
  milliseconds,
  number,
  percent,
  say,
  sayCount,
} from '../../src/i18n/speech.ts';

afterEach(() => (language.value = 'en'));

const holes = (words: string): string[] => [...words.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!).sort();

describe('dictionaries', () => {
  test.each(Object.keys(LANGUAGES) as Language[])(
    '%s fills the same holes as English, and leaves nothing empty',
    (tag) => {
      for (const [key, words] of Object.entries(DICTIONARIES[tag])) {
        expect(words.trim(), key).not.toBe('');
        expect(holes(words), key).toEqual(holes(DICTIONARIES.en[key as keyof typeof DICTIONARIES.en]));
      }
    },
  );

  test('only names and borrowed words are the same in another language', () => {
    for (const tag of ['de', 'es', 'fr'] as const) {
      const same = Object.entries(DICTIONARIES.en).filter(([key, words]) => DICTIONARIES[tag][key as 'text'] === words);
      expect(same.length, `${tag}: ${same.map(([key]) => key).join(' ')}`).toBeLessThan(12);
    }
  });
});

test('values take their places, numbers in the way of the language', () => {
  language.value = 'de';
  expect(say('perSecond', { count: 1234 })).toBe('1.234 pro Sekunde');
  expect(say('rename', { name: '{name}' })).toBe('{name} umbenennen');
});

test('one and many by the language: French counts zero as one', () => {
  expect(sayCount('shots', 0)).toBe('0 shots');
  expect(sayCount('shots', 1)).toBe('1 shot');
  language.value = 'fr';
  expect(sayCount('shots', 0)).toBe('0 vue');
  expect(sayCount('shots', 2)).toBe('2 vues');
});

test('numbers and units', () => {
  expect(number(1234.56, 1)).toBe('1,234.6');
  expect(percent(0.873)).toBe('87%');
  expect(bytes(5_312_000)).toBe('5.3 MB');
  expect(bytes(14_200_000)).toBe('14 MB');
  expect(bytes(7_785)).toBe('7.8 kB');
  expect(milliseconds(0.31)).toBe('0.3 ms');
  expect(milliseconds(152.4)).toBe('152 ms');
});

test('never all sure, never not at all', () => {
  expect(confidence(0.99991)).toBe('> 99%');
  expect(confidence(0.001)).toBe('< 1%');
  expect(confidence(0.5)).toBe('50%');
});

test.each([
  [['fr-CA', 'en'], 'fr'],
  [['ja', 'DE-at', 'en'], 'de'],
  [['ja', 'pt-BR'], 'en'],
  [[], 'en'],
])('of %s the app speaks %s', (wanted, spoken) => expect(bestLanguage(wanted)).toBe(spoken));
