import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { sha256, startSha256 } from '../../src/bundle/digest.ts';
import { encode } from './sample.ts';

const CONTENT = Uint8Array.from({ length: 300 }, (_, index) => (index * 151) % 256);

test('the sum of the standard is what the standard says', async () => {
  const wanted = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  const digest = await startSha256();
  digest.update(encode('abc'));
  expect(digest.digest()).toBe(wanted);
  expect(await sha256(encode('abc'))).toBe(wanted);
});

test('any length, in two pieces cut anywhere', async () => {
  for (let length = 0; length <= CONTENT.length; length += 1) {
    const content = CONTENT.subarray(0, length);
    const wanted = createHash('sha256').update(content).digest('hex');
    for (const cut of [0, 1, 63, 64, 65, length]) {
      const digest = await startSha256();
      digest.update(content.subarray(0, cut));
      digest.update(content.subarray(cut));
      expect(digest.digest()).toBe(wanted);
    }
  }
});
