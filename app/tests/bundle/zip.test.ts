import { deflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { crc32 } from '../../src/bundle/crc32.ts';
import { readDirectory, unzip, type ZipEntry } from '../../src/bundle/zip.ts';
import { writeZip } from '../../src/bundle/zip-writer.ts';
import { encode, fileOf } from './sample.ts';

const read = (file: Uint8Array<ArrayBuffer>) => readDirectory(new Blob([file]));

const sample = () =>
  writeZip(
    new Map([
      ['a.txt', encode('first')],
      ['b/c.bin', Uint8Array.of(0, 1, 255)],
    ]),
  );

/** Where a 32-bit number lies in a file. */
function find(file: Uint8Array, value: number): number {
  const view = new DataView(file.buffer);
  for (let at = 0; at + 4 <= file.length; at += 1) if (view.getUint32(at, true) === value) return at;
  throw new Error('not there');
}

function deflated(content: Uint8Array, size = content.length): ZipEntry {
  const packed = new Blob([Uint8Array.from(deflateRawSync(content))]);
  return { name: 'a', method: 'deflated', size, crc: crc32(content), packed };
}

test('the CRC of the standard check is what the standard says', () => {
  expect(crc32(encode('123456789'))).toBe(0xcbf43926);
});

test('what was written is read, byte for byte and always the same', async () => {
  const entries = await read(sample());
  expect([...entries.keys()]).toEqual(['a.txt', 'b/c.bin']);
  expect(await unzip(entries.get('a.txt')!)).toEqual(encode('first'));
  expect(await unzip(entries.get('b/c.bin')!)).toEqual(Uint8Array.of(0, 1, 255));
  expect(sample()).toEqual(sample());
});

test('a comment at the end is left alone, an empty zip is a zip', async () => {
  const empty = writeZip(new Map());
  expect((await read(empty)).size).toBe(0);
  const commented = new Uint8Array(empty.length + 3);
  commented.set(empty);
  commented[empty.length - 2] = 3;
  expect((await read(commented)).size).toBe(0);
});

test('a checksum of pieces is that of the whole', () => {
  const whole = encode('123456789');
  for (let cut = 0; cut <= 9; cut += 1) {
    expect(crc32(whole.subarray(cut), crc32(whole.subarray(0, cut)))).toBe(0xcbf43926);
  }
});

describe('unpacking', () => {
  test('gives the content back, also of nothing', async () => {
    for (const content of [encode('x'.repeat(100_000)), new Uint8Array(0)]) {
      expect(await unzip(deflated(content))).toEqual(content);
    }
  });

  test('stops at once where there is more than was said', async () => {
    const bomb = deflated(new Uint8Array(64 * 1024 * 1024), 1000);
    await expect(unzip(bomb)).rejects.toThrow('more than the 1000 bytes');
  });

  test.each([
    ['less than was said', { size: 6 }, 'unpacks to 5 bytes'],
    ['another checksum', { crc: 1 }, 'checksum'],
    ['no deflate', { packed: new Blob([Uint8Array.of(255, 255, 255)]) }, 'damaged'],
    ['the first part of it', { packed: new Blob([Uint8Array.of(0x4b)]) }, 'damaged'],
  ])('refuses %s', async (_, change, message) => {
    const entry = unzip({ ...deflated(encode('first')), ...change });
    await expect(entry).rejects.toMatchObject({ code: 'corrupt', message: expect.stringContaining(message) });
  });
});

describe('a directory is refused', () => {
  test.each([
    ['..'],
    ['../a'],
    ['/a'],
    ['a\\b'],
    ['C:a'],
    ['a//b'],
    ['a/'],
    ['.a'],
    ['a.'],
    ['a '],
    ['ä'],
    ['a\0'],
    [''],
    ['a'.repeat(201)],
  ])('with the name %j', async (name) => {
    await expect(readDirectory(fileOf(new Map([[name, encode('x')]])))).rejects.toThrow('plain relative path');
  });

  test('when it is no zip, or cut short', async () => {
    await expect(read(new Uint8Array(0))).rejects.toThrow('expected a zip');
    await expect(read(encode('<!doctype html>'.repeat(10)))).rejects.toThrow('expected a zip');
    for (const end of [1, 10, 40]) await expect(read(sample().slice(0, -end))).rejects.toThrow();
  });

  test('when something lies before it', async () => {
    const file = sample();
    const shifted = new Uint8Array(file.length + 4);
    shifted.set(file, 4);
    await expect(read(shifted)).rejects.toThrow('not where it says');
  });

  test('with more than 1,000 members', async () => {
    const many = Array.from({ length: 1001 }, (_, index): [string, Uint8Array] => [`m${index}`, new Uint8Array(0)]);
    await expect(readDirectory(fileOf(new Map(many)))).rejects.toThrow('1001 members');
  });

  test('with two members of one name', async () => {
    const file = writeZip(
      new Map([
        ['aa', encode('x')],
        ['ab', encode('y')],
      ]),
    );
    const text = String.fromCharCode(...file);
    for (let at = text.indexOf('ab'); at >= 0; at = text.indexOf('ab', at + 1)) file[at + 1] = 'a'.charCodeAt(0);
    await expect(read(file)).rejects.toThrow('two members of one name');
  });

  test.each([
    ['encrypted', 8, 1],
    ['bzip2', 10, 12],
    ['of a newer kind', 6, 64],
    ['of other names inside', 46, 'z'.charCodeAt(0)],
    ['that lie outside', 42, 255],
    ['longer than the file', 21, 255],
    ['at another place', 42, 1],
  ])('with members %s', async (_, offset, value) => {
    const file = sample();
    const second = find(file, 0x02014b50) + 46 + 'a.txt'.length;
    file[second + offset] = value;
    await expect(read(file)).rejects.toThrow();
  });

  test('without an end, whatever byte is changed: no other error than ours', async () => {
    const whole = sample();
    for (let at = 0; at < whole.length; at += 1) {
      const file = whole.slice();
      file[at]! ^= 0x55;
      try {
        for (const entry of (await read(file)).values()) await unzip(entry);
      } catch (thrown) {
        expect(thrown).toMatchObject({ name: 'FailureError' });
      }
    }
  });
});
