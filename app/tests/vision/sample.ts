/** Pictures without files. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { PlainResizer, type Resizer } from '../../src/vision/resize.ts';
import { SimdResizer } from '../../src/vision/resize-simd.ts';

/** Pixels that look like noise but are always the same, RGBA. */
export function noise(width: number, height: number, seed = 1): Uint8ClampedArray<ArrayBuffer> {
  let state = seed;
  return new Uint8ClampedArray(width * height * 4).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

/** The wasm that `npm run build:wasm` made. */
export function wasm(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(resolve(import.meta.dirname, '../../src', path)));
}

export async function resizers(): Promise<[string, Resizer][]> {
  return [
    ['plain', new PlainResizer()],
    ['SIMD', await SimdResizer.of(wasm('vision/resize.wasm'))],
  ];
}
