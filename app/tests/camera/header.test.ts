import { expect, test } from 'vitest';
import { sizeFromHeader } from '../../src/camera/header.ts';

const bytes = (...parts: (string | number[])[]) =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === 'string' ? [...part].map((c) => c.charCodeAt(0)) : part)))
    .buffer;

const gap = (length: number) => Array.from({ length }, () => 0);

test.each([
  [
    'JPEG, past a table and a preview',
    bytes([0xff, 0xd8, 0xff, 0xe1, 0, 4, 1, 2, 0xff, 0xc4, 0, 3, 9, 0xff, 0xc2, 0, 17, 8, 0x2c, 0x00, 0x3a, 0x98]),
    { width: 15000, height: 11264 },
  ],
  ['PNG', bytes([0x89], 'PNG', gap(12), [0, 0, 4, 0, 0, 0, 3, 0]), { width: 1024, height: 768 }],
  ['GIF', bytes('GIF89a', [0x40, 1, 0xf0, 0]), { width: 320, height: 240 }],
  [
    'BMP, stored from the top',
    bytes('BM', gap(16), [64, 0, 0, 0], [0xe0, 0xff, 0xff, 0xff]),
    { width: 64, height: 32 },
  ],
  ['WebP, extended', bytes('RIFF', gap(4), 'WEBPVP8X', gap(8), [0xff, 3, 0, 0xff, 2, 0]), { width: 1024, height: 768 }],
  ['WebP, lossy', bytes('RIFF', gap(4), 'WEBPVP8 ', gap(10), [0x00, 4, 0x00, 3]), { width: 1024, height: 768 }],
  [
    'WebP, lossless',
    bytes('RIFF', gap(4), 'WEBPVP8L', gap(4), [0x2f, 0xff, 0xc3, 0xbf, 0x00]),
    { width: 1024, height: 768 },
  ],
])('%s', (_, file, size) => expect(sizeFromHeader(file)).toEqual(size));

test.each([
  ['nothing', bytes()],
  ['text', bytes('not a picture at all, whatever its name')],
  ['a JPEG that ends in its header', bytes([0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff])],
  ['a JPEG that begins with its data', bytes([0xff, 0xd8, 0, 0, 0, 0, 0, 0])],
  ['a PNG that ends early', bytes([0x89], 'PNG')],
  ['a WebP of no known kind', bytes('RIFF', gap(4), 'WEBPWHAT', gap(20))],
])('%s has no size', (_, file) => expect(sizeFromHeader(file)).toBeNull());
