/** A photo from the album as a frame. */
import { HEADER_BYTES, sizeFromHeader } from './header.ts';

/** Longer sides gain nothing: the model sees a few hundred pixels, the screen about this many. */
const LONGEST_SIDE = 2048;
/** Where the header tells no size: what a decoder may be asked to open blindly. */
const LARGEST_UNKNOWN_BYTES = 20e6;

export class PhotoError extends Error {}

/**
 * Decode a photo, upright and at most 2048 pixels long.
 *
 * Its size is read from the header first, so that one of 100 megapixels is shrunk by the decoder and never lies in
 * memory in full beside its copy. Throws PhotoError when it is no image that this browser can read.
 */
export async function openPhoto(file: Blob): Promise<ImageBitmap> {
  const size = sizeFromHeader(await file.slice(0, HEADER_BYTES).arrayBuffer());
  if (!size && file.size > LARGEST_UNKNOWN_BYTES)
    throw new PhotoError(`expected a JPEG, PNG, WebP, GIF or BMP, got ${file.type || 'an unknown kind'}`);
  if (size && (size.width < 1 || size.height < 1))
    throw new PhotoError(`expected a photo of at least 1 x 1 pixels, got ${size.width} x ${size.height}`);
  try {
    return await createImageBitmap(file, { imageOrientation: 'from-image', ...shrink(size) });
  } catch {
    throw new PhotoError(`expected a photo, got a file that does not decode (${file.type || 'unknown kind'})`);
  }
}

/** Naming one side keeps the proportions, also of a photo that EXIF turns. */
function shrink(size: { width: number; height: number } | null): ImageBitmapOptions {
  if (!size || Math.max(size.width, size.height) <= LONGEST_SIDE) return {};
  const side = size.width >= size.height ? 'resizeWidth' : 'resizeHeight';
  return { [side]: LONGEST_SIDE, resizeQuality: 'medium' };
}
