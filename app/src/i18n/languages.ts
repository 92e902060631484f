/** The languages that the app speaks, each by its own name. */
export const LANGUAGES = { en: 'English', es: 'Español', de: 'Deutsch', fr: 'Français' } as const;

export type Language = keyof typeof LANGUAGES;

/** The first of the wanted languages ("fr-CA", most wanted first) that the app speaks, else English. */
export function bestLanguage(wanted: readonly string[]): Language {
  const spoken = wanted
    .map((tag) => tag.toLowerCase().split('-')[0] ?? '')
    .find((tag) => Object.hasOwn(LANGUAGES, tag));
  return (spoken ?? 'en') as Language;
}
