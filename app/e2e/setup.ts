/** Makes what the tests in the browser need: the demo site, photos, and a camera that shows them. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { CAMERA, MADE, PHOTOS, PYTHON, SITE } from './places.ts';

export default function setup(): void {
  mkdirSync(MADE, { recursive: true });
  if (!existsSync(CAMERA)) {
    python('-m', 'pocketlens.datasets.sample', PHOTOS);
    python(resolve(import.meta.dirname, 'camera.py'), PHOTOS, CAMERA);
  }
  // Squeezes at the first time (a minute); after that the bundle is remembered.
  python('-m', 'pocketlens', 'app', '--demo', '--out', SITE, '--force');
}

function python(...args: string[]): void {
  execFileSync(PYTHON, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
