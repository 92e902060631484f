import { expect, test } from 'vitest';
import { emptyGallery, joined, withEntry, withLabel, withoutEntry } from '../../src/store/own-gallery.ts';

const backbone = { name: 'tiny', fingerprint: 'f'.repeat(64), dimensions: 2 };
const empty = emptyGallery('products', 'Mine', backbone);
const shot = (...codes: number[]) => Int8Array.from(codes);

test('an entry lies at the end with its vectors', () => {
  const one = withEntry(empty, 'Milk', [shot(1, 2), shot(3, 4)]);
  const two = withEntry(one, 'Oats', [shot(5, 6)]);
  expect(two.entries.map(({ label, vectors }) => [label, vectors])).toEqual([
    ['Milk', 2],
    ['Oats', 1],
  ]);
  expect([...two.vectors]).toEqual([1, 2, 3, 4, 5, 6]);
  expect(empty.entries).toEqual([]);
});

test('one that leaves takes its vectors along', () => {
  let gallery = empty;
  for (const [label, code] of [
    ['a', 1],
    ['b', 2],
    ['c', 3],
  ] as const)
    gallery = withEntry(gallery, label, [shot(code, code)]);
  const left = withoutEntry(gallery, gallery.entries[1]!.id);
  expect(left.entries.map(({ label }) => label)).toEqual(['a', 'c']);
  expect([...left.vectors]).toEqual([1, 1, 3, 3]);
  expect(withoutEntry(gallery, 'nobody')).toEqual(gallery);
});

test('a new name changes nothing else', () => {
  const gallery = withEntry(empty, 'Mlik', [shot(1, 2)]);
  const named = withLabel(gallery, gallery.entries[0]!.id, 'Milk');
  expect(named).toEqual({ ...gallery, entries: [{ ...gallery.entries[0], label: 'Milk' }] });
});

test('joined, what was measured wins over defaults, and the stricter of two', () => {
  const own = withEntry(empty, 'a', [shot(1, 2)]);
  const measured = { ...withEntry(empty, 'b', [shot(3, 4)]), threshold: 0.3, margin: 0.1, false_accept_rate: 0.05 };
  const stricter = { ...measured, threshold: 0.4, margin: 0.02 };
  expect(joined([])).toBeNull();
  expect(joined([own, measured])).toMatchObject({ threshold: 0.3, margin: 0.1 });
  const whole = joined([own, measured, stricter])!;
  expect(whole).toMatchObject({ threshold: 0.4, margin: 0.1 });
  expect(whole.entries).toHaveLength(3);
  expect([...whole.vectors]).toEqual([1, 2, 3, 4, 3, 4]);
});
