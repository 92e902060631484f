import { expect, test } from 'vitest';
import { FailureError, failureOf } from '../src/failure.ts';

test('a failure stays itself', () => {
  expect(failureOf(new FailureError('newer', 'update'), 'frame')).toEqual({ code: 'newer', detail: 'update' });
});

test.each([
  new RangeError('Array buffer allocation failed'),
  new RangeError('WebAssembly.Memory(): could not allocate memory'),
  new Error('Out of memory'),
  new Error('std::bad_alloc'),
])('%s is for want of memory', (thrown) => {
  expect(failureOf(thrown).code).toBe('memory');
});

test('anything else is what the caller says', () => {
  expect(failureOf(new TypeError('x is not a function'), 'corrupt')).toEqual({
    code: 'corrupt',
    detail: 'x is not a function',
  });
  expect(failureOf('text')).toEqual({ code: 'runtime', detail: 'text' });
});
