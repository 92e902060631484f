/** What a person chose, and what the app found out about this phone: small, kept in localStorage. */
import type { Way } from '../engine/protocol.ts';
import { LANGUAGES, type Language } from '../i18n/languages.ts';
import { Signal } from './signal.ts';

export const MODES = ['objects', 'products', 'landmarks', 'text'] as const;
export type Mode = (typeof MODES)[number];
export const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

/** What one way of running took in a race. */
export interface Lap {
  way: Way;
  medianMs: number;
}

/** The race of one model on this phone, fastest first. */
export interface Race {
  /** Whether threads could be used then; a race without them is run again once they can. */
  isolated: boolean;
  laps: Lap[];
}

export interface Settings {
  language: Language | 'auto';
  theme: Theme;
  haptics: boolean;
  keepAwake: boolean;
  mode: Mode;
  /** A model's id, null for the catalog's first. */
  model: string | null;
  /** null: the fastest, by race. */
  way: Way | null;
  /** A camera's deviceId, null for the one at the back. */
  camera: string | null;
  /** The person has agreed to the camera once, so that the app need not explain it again. */
  cameraAgreed: boolean;
  /** By the model's fingerprint. */
  races: Record<string, Race>;
}

export const DEFAULTS: Settings = {
  language: 'auto',
  theme: 'auto',
  haptics: false,
  keepAwake: true,
  mode: 'objects',
  model: null,
  way: null,
  camera: null,
  cameraAgreed: false,
  races: {},
};

const KEY = 'pocketlens.settings';

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isWay = (value: unknown): value is Way =>
  isRecord(value) &&
  typeof value.graph === 'string' &&
  (value.provider === 'wasm' || value.provider === 'webgpu') &&
  Number.isInteger(value.threads) &&
  (value.threads as number) >= 1;

const isRace = (value: unknown): value is Race =>
  isRecord(value) &&
  typeof value.isolated === 'boolean' &&
  Array.isArray(value.laps) &&
  value.laps.length > 0 &&
  value.laps.every((lap) => isRecord(lap) && isWay(lap.way) && Number.isFinite(lap.medianMs));

const isTextOrNull = (value: unknown): boolean => value === null || typeof value === 'string';
const isFlag = (value: unknown): boolean => typeof value === 'boolean';
const oneOf =
  (values: readonly string[]) =>
  (value: unknown): boolean =>
    typeof value === 'string' && values.includes(value);

const CHECKS: { [K in keyof Settings]: (value: unknown) => boolean } = {
  language: oneOf(['auto', ...Object.keys(LANGUAGES)]),
  theme: oneOf(THEMES),
  haptics: isFlag,
  keepAwake: isFlag,
  mode: oneOf(MODES),
  model: isTextOrNull,
  way: (value) => value === null || isWay(value),
  camera: isTextOrNull,
  cameraAgreed: isFlag,
  races: (value) => isRecord(value) && Object.values(value).every(isRace),
};

/** Settings out of stored text; a field that is missing or makes no sense is as in `DEFAULTS`. */
export function parseSettings(text: string | null): Settings {
  let stored: unknown;
  try {
    stored = JSON.parse(text ?? '{}');
  } catch {
    stored = {};
  }
  const fields = isRecord(stored) ? stored : {};
  const sound = Object.entries(CHECKS).filter(([name, check]) => name in fields && check(fields[name]));
  return { ...DEFAULTS, ...Object.fromEntries(sound.map(([name]) => [name, fields[name]])) };
}

/** The settings as a signal that keeps itself: every change is written down, where the browser lets it. */
export class SettingsStore extends Signal<Settings> {
  constructor(private readonly storage: Storage | null) {
    super(parseSettings(read(storage)));
    this.subscribe((settings) => {
      try {
        this.storage?.setItem(KEY, JSON.stringify(settings));
      } catch {
        // A full or forbidden storage costs only that the choice is forgotten at the next start.
      }
    });
  }

  /** Change some fields. */
  change(fields: Partial<Settings>): void {
    this.value = { ...this.value, ...fields };
  }

  /** As on the first day. */
  reset(): void {
    this.value = DEFAULTS;
    this.storage?.removeItem(KEY);
  }
}

function read(storage: Storage | null): string | null {
  try {
    return storage?.getItem(KEY) ?? null;
  } catch {
    return null;
  }
}

/** localStorage, or null where the browser refuses even to name it (cookies blocked). */
export function openStorage(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
