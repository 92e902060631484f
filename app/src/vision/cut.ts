/** A part of a picture that is in memory already. */
import type { Region } from '../engine/protocol.ts';

/**
 * @param pixels RGBA, `width` pixels a row.
 * @param part whole pixels, within the picture.
 * @returns RGBA of the part, a copy.
 */
export function cut(pixels: Uint8ClampedArray, width: number, part: Region): Uint8ClampedArray<ArrayBuffer> {
  const found = new Uint8ClampedArray(part.width * part.height * 4);
  for (let row = 0; row < part.height; row += 1) {
    const at = ((part.y + row) * width + part.x) * 4;
    found.set(pixels.subarray(at, at + part.width * 4), row * part.width * 4);
  }
  return found;
}
