/** The size of a photo from the first bytes of its file, without decoding it. */

export interface Size {
  width: number;
  height: number;
}

/** Bytes that are enough: a phone's JPEG may carry a large preview before its size. */
export const HEADER_BYTES = 512 * 1024;

/** Width and height as stored (before any EXIF rotation) of a JPEG, PNG, WebP, GIF or BMP; null for anything else. */
export function sizeFromHeader(bytes: ArrayBuffer): Size | null {
  const view = new DataView(bytes);
  try {
    if (view.getUint16(0) === 0xffd8) return jpegSize(view);
    if (view.getUint32(0) === 0x89504e47) return { width: view.getUint32(16), height: view.getUint32(20) };
    if (view.getUint32(0) === 0x47494638) return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
    if (view.getUint16(0) === 0x424d)
      return { width: view.getInt32(18, true), height: Math.abs(view.getInt32(22, true)) };
    if (view.getUint32(0) === 0x52494646 && view.getUint32(8) === 0x57454250) return webpSize(view);
    return null;
  } catch {
    // A RangeError: the file ends within its header.
    return null;
  }
}

function jpegSize(view: DataView): Size | null {
  let at = 2;
  while (view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1);
    // SOF0 to SOF15 hold the size; C4, C8 and CC among them are tables.
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker))
      return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    at += 2 + view.getUint16(at + 2);
  }
  return null;
}

function webpSize(view: DataView): Size | null {
  switch (view.getUint32(12)) {
    case 0x56503858: // "VP8X", 24 bits each, minus one
      return { width: 1 + uint24(view, 24), height: 1 + uint24(view, 27) };
    case 0x56503820: // "VP8 "
      return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
    case 0x5650384c: {
      // "VP8L", 14 bits each, minus one
      const bits = view.getUint32(21, true);
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
    }
    default:
      return null;
  }
}

const uint24 = (view: DataView, at: number): number => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
