/** Words and numbers in the language that is set. */
import { Signal } from '../store/signal.ts';
import { de } from './de.ts';
import { en } from './en.ts';
import { es } from './es.ts';
import { fr } from './fr.ts';
import type { Language } from './languages.ts';

export type Key = keyof typeof en;
/** A complete dictionary: a missing key does not compile. */
export type Dictionary = { readonly [K in Key]: string };

export const DICTIONARIES: Record<Language, Dictionary> = { en, es, de, fr };

/** The language in use; what shows words listens to it. */
export const language = new Signal<Language>('en');

/** The words for `key`, with `{name}` replaced by `values.name`. */
export function say(key: Key, values: Record<string, string | number> = {}): string {
  return DICTIONARIES[language.value][key].replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === 'number' ? number(value) : value;
  });
}

/** "1 shot", "3 shots": `key` + "One" or `key` + "Other" by the language's own rule. */
export function sayCount(key: CountedKey, count: number): string {
  const one = new Intl.PluralRules(language.value).select(count) === 'one';
  return say(`${key}${one ? 'One' : 'Other'}`, { count });
}
type CountedKey = {
  [K in Key]: K extends `${infer Stem}One` ? (`${Stem}Other` extends Key ? Stem : never) : never;
}[Key];

/** 1234.5 -> "1,234.5". */
export function number(value: number, digits = 0): string {
  return new Intl.NumberFormat(language.value, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(
    value,
  );
}

/** 0.873 -> "87%". */
export function percent(share: number): string {
  return new Intl.NumberFormat(language.value, { style: 'percent' }).format(share);
}

/** How sure, 0 to 1: as percent, but never all and never nothing. */
export function confidence(share: number): string {
  if (share > 0.99) return `> ${percent(0.99)}`;
  if (share < 0.01) return `< ${percent(0.01)}`;
  return percent(share);
}

/** 5312000 -> "5.3 MB". */
export function bytes(count: number): string {
  const [unit, value] = count < 1e6 ? (['kilobyte', count / 1e3] as const) : (['megabyte', count / 1e6] as const);
  const digits = value < 10 ? 1 : 0;
  return new Intl.NumberFormat(language.value, { style: 'unit', unit, maximumFractionDigits: digits }).format(value);
}

/** 11.73 -> "11.7 ms". */
export function milliseconds(value: number): string {
  const digits = value < 10 ? 1 : 0;
  return new Intl.NumberFormat(language.value, {
    style: 'unit',
    unit: 'millisecond',
    maximumFractionDigits: digits,
    minimumFractionDigits: digits,
  }).format(value);
}
