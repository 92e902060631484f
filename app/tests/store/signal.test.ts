import { expect, test, vi } from 'vitest';
import { Signal } from '../../src/store/signal.ts';

test('tells of changes only, until told to stop', () => {
  const signal = new Signal(1);
  const heard = vi.fn();
  const end = signal.subscribe(heard);
  signal.value = 1;
  signal.value = 2;
  end();
  signal.value = 3;
  expect(heard.mock.calls).toEqual([[2]]);
  expect(signal.value).toBe(3);
});

test('one that leaves while being told does not disturb the others', () => {
  const signal = new Signal(0);
  const later = vi.fn();
  const end = signal.subscribe(() => end());
  signal.subscribe(later);
  signal.value = 1;
  expect(later).toHaveBeenCalledOnce();
});
