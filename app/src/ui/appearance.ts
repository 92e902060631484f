/** Theme and language, as the document wears them. */
import { bestLanguage, type Language } from '../i18n/languages.ts';
import { language } from '../i18n/speech.ts';
import type { Theme } from '../store/settings.ts';

const PAPER = { light: '#f5f6f3', dark: '#0c1011' } as const;

/** Light, dark, or as the system says. The browser's own bars take the colour too. */
export function applyTheme(theme: Theme): void {
  const root = document.documentElement;
  if (theme === 'auto') delete root.dataset.theme;
  else root.dataset.theme = theme;
  for (const meta of document.querySelectorAll<HTMLMetaElement>('meta[name="theme-color"]')) {
    const own = meta.media.includes('dark') ? 'dark' : 'light';
    meta.content = PAPER[theme === 'auto' ? own : theme];
  }
}

/** The language chosen, or the first of the browser's that the app speaks. */
export function applyLanguage(chosen: Language | 'auto'): void {
  language.value = chosen === 'auto' ? bestLanguage(navigator.languages) : chosen;
  document.documentElement.lang = language.value;
}
