/** Where the tests in the browser find things. */
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

export const PYTHON = resolve(ROOT, '.venv/bin/python');

/** Made by setup.ts, and made again when what they are made of changes. */
export const MADE = resolve(ROOT, 'app/test-results/made');

/** The site of `pocketlens app --demo`. */
export const SITE = resolve(MADE, 'site');

/** A video of the photos that scikit-image and scikit-learn carry. */
export const CAMERA = resolve(MADE, 'camera.mjpeg');

export const PHOTOS = resolve(MADE, 'photos');

/** The bundle of the demo site. */
export function demoBundle(): string {
  const folder = resolve(SITE, 'bundles');
  const [name] = readdirSync(folder);
  if (!name) throw new Error(`${folder} is empty; remove ${MADE} and run the tests again`);
  return resolve(folder, name);
}
