import { expect, test } from 'vitest';
import { parseStrict } from '../../src/bundle/strict-json.ts';
import { encode } from './sample.ts';

const parse = (text: string) => parseStrict(encode(text));

test('JSON is read as JSON is', () => {
  const text = '{"a": [1, -2.5e3, true, null, "x:\\"{[,"], "b": {"a": {}}, "": "\\u00e4", "c,d": ":"}';
  expect(parse(text)).toEqual(JSON.parse(text));
  expect(parse('[{"a": 1}, {"a": 2}]')).toEqual([{ a: 1 }, { a: 2 }]);
});

test.each([
  ['a key twice', '{"a": 1, "b": {"c": 1}, "a": 2}', 'occurs twice'],
  ['a key twice, once escaped', '{"a": 1, "\\u0061": 2}', 'occurs twice'],
  ['a key twice, deep down', '[[{"x": {"a": 1, "a": 1}}]]', 'occurs twice'],
  ['NaN', '{"a": NaN}', 'no valid JSON'],
  ['an infinity', '{"a": 1e999}', 'not finite'],
  ['a negative one', '[-1e999]', 'not finite'],
  ['a comma too many', '[1,]', 'no valid JSON'],
  ['nothing', '', 'no valid JSON'],
  ['a byte order mark', '\ufeff{}', 'no valid JSON'],
  ['a lot of depth', '['.repeat(300) + ']'.repeat(300), 'nested too deep'],
])('%s is refused', (_, text, message) => {
  expect(() => parse(text)).toThrow(message);
});

test('what is not UTF-8 is refused', () => {
  expect(() => parseStrict(Uint8Array.of(0x22, 0xff, 0x22))).toThrow('no valid JSON');
});

test('depth without an end ends', () => {
  expect(() => parse('['.repeat(200_000))).toThrow(expect.objectContaining({ code: 'corrupt' }));
});
