// @vitest-environment happy-dom
import { beforeEach, describe, expect, test } from 'vitest';
import { DEFAULTS, openStorage, parseSettings, SettingsStore } from '../../src/store/settings.ts';

const way = { graph: 'float', provider: 'wasm', threads: 2 } as const;
const race = { isolated: true, laps: [{ way, medianMs: 11 }] };

beforeEach(() => localStorage.clear());

describe('stored text', () => {
  test('comes back as it was', () => {
    const settings = { ...DEFAULTS, language: 'de' as const, theme: 'dark' as const, way, races: { abc: race } };
    expect(parseSettings(JSON.stringify(settings))).toEqual(settings);
  });

  test.each([null, '', 'null', '[]', '7', '{', '"text"'])('%s gives the defaults', (text) => {
    expect(parseSettings(text)).toEqual(DEFAULTS);
  });

  test('a field that makes no sense costs only itself', () => {
    const stored = {
      language: 'klingon',
      theme: 3,
      haptics: true,
      mode: 'smells',
      way: { graph: 'x' },
      races: { a: {} },
      more: 1,
    };
    expect(parseSettings(JSON.stringify(stored))).toEqual({ ...DEFAULTS, haptics: true });
  });

  test.each([0, 1.5, '2'])('a way with %s threads is none', (threads) => {
    expect(parseSettings(JSON.stringify({ way: { ...way, threads } })).way).toBeNull();
  });

  test('a language that is a property of every object is no language', () => {
    expect(parseSettings('{"language": "constructor"}').language).toBe('auto');
  });
});

test('every change is kept for the next start, a reset forgets', () => {
  const store = new SettingsStore(openStorage());
  store.change({ theme: 'light' });
  expect(new SettingsStore(openStorage()).value.theme).toBe('light');
  store.reset();
  expect(store.value).toEqual(DEFAULTS);
  expect(localStorage.length).toBe(0);
});

test('without storage, or with a full one, choices last as long as the page', () => {
  const full = { getItem: () => null, setItem: () => raise(), removeItem: () => undefined } as unknown as Storage;
  for (const storage of [null, full]) {
    const store = new SettingsStore(storage);
    store.change({ haptics: true });
    expect(store.value.haptics).toBe(true);
  }
});

function raise(): never {
  throw new DOMException('full', 'QuotaExceededError');
}
