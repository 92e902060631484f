import { expect, test } from 'vitest';
import { deviceHere } from '../../src/engine/device.ts';

const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1';
const MAC = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15';
const ANDROID = 'Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/131.0.0.0 Mobile Safari/537.36';

test('what the browser tells', () => {
  const hints = { hardwareConcurrency: 8, deviceMemory: 4, userAgent: ANDROID, maxTouchPoints: 5, gpu: {} };
  expect(deviceHere(hints, true)).toEqual({ cores: 8, isolated: true, memoryGb: 4, ios: false, webgpu: true });
});

test('what it does not tell is the least', () => {
  expect(deviceHere({ userAgent: MAC }, false)).toEqual({
    cores: 1,
    isolated: false,
    memoryGb: null,
    ios: false,
    webgpu: false,
  });
});

test('an iPad is no Mac', () => {
  expect(deviceHere({ userAgent: IPHONE }, true).ios).toBe(true);
  expect(deviceHere({ userAgent: MAC, maxTouchPoints: 5 }, true).ios).toBe(true);
  expect(deviceHere({ userAgent: MAC, maxTouchPoints: 0 }, true).ios).toBe(false);
});
