// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Camera } from '../../src/camera/camera.ts';
import { FakeDevices } from './devices.ts';

let hidden = false;

beforeEach(() => {
  hidden = false;
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
});
afterEach(() => void vi.restoreAllMocks());

function turn(now: 'hidden' | 'visible'): void {
  hidden = now === 'hidden';
  document.dispatchEvent(new Event('visibilitychange'));
}

function camera(devices: FakeDevices | null) {
  const video = { srcObject: null, play: () => Promise.resolve() } as unknown as HTMLVideoElement;
  // null, not undefined: an absent navigator.mediaDevices, whatever happy-dom has.
  return { video, camera: new Camera(video, (devices ?? null) as unknown as MediaDevices) };
}

const kind = (opened: Camera) => opened.state.value.kind;
const liveAgain = (opened: Camera) => vi.waitFor(() => expect(kind(opened)).toBe('live'));

describe('opening', () => {
  test('the one at the back, at 1280 x 720', async () => {
    const devices = new FakeDevices(['back', 'front']);
    const { camera: opened, video } = camera(devices);
    await opened.start(null);
    expect(opened.state.value).toMatchObject({ kind: 'live', deviceId: 'back', cameras: 2, still: false });
    expect(devices.asked[0]!.video).toMatchObject({ facingMode: { ideal: 'environment' }, width: { ideal: 1280 } });
    expect(video.srcObject).not.toBeNull();
  });

  test.each([
    ['NotAllowedError', 'refused'],
    ['NotFoundError', 'none'],
    ['NotReadableError', 'busy'],
    ['AbortError', 'busy'],
    ['SecurityError', 'insecure'],
  ])('%s is "%s", and trying again may help', async (name, trouble) => {
    const devices = new FakeDevices();
    const { camera: opened } = camera(devices);
    devices.refusal = name;
    await opened.start(null);
    expect(opened.state.value).toEqual({ kind: 'failed', trouble });
    devices.refusal = null;
    await opened.start(null);
    expect(kind(opened)).toBe('live');
  });

  test('without a secure connection there are no devices at all', async () => {
    const { camera: opened } = camera(null);
    await opened.start(null);
    expect(opened.state.value).toEqual({ kind: 'failed', trouble: 'insecure' });
  });

  test('a camera chosen once and gone since gives way to the one at the back', async () => {
    const { camera: opened } = camera(new FakeDevices(['back']));
    await opened.start('unplugged');
    expect(opened.state.value).toMatchObject({ kind: 'live', deviceId: 'back' });
  });

  test('stopped while the browser still asks: the late stream is let go', async () => {
    const devices = new FakeDevices();
    let open = () => undefined as void;
    devices.gate = new Promise((resolve) => (open = resolve));
    const { camera: opened } = camera(devices);
    const started = opened.start(null);
    opened.stop();
    open();
    await started;
    expect(kind(opened)).toBe('off');
    expect(devices.last.stopped).toBe(true);
  });
});

describe('while it runs', () => {
  test('a hidden page lets go of the camera, and takes it again, an hour later too', async () => {
    const devices = new FakeDevices();
    const { camera: opened, video } = camera(devices);
    await opened.start(null);
    turn('hidden');
    expect(kind(opened)).toBe('off');
    expect(devices.last.stopped).toBe(true);
    expect(video.srcObject).toBeNull();
    turn('visible');
    await liveAgain(opened);
    expect(devices.tracks).toHaveLength(2);
  });

  test('a camera that was never started stays off when the page comes back', () => {
    const devices = new FakeDevices();
    camera(devices);
    turn('hidden');
    turn('visible');
    expect(devices.asked).toHaveLength(0);
  });

  test('started while hidden, it waits until the page is seen', async () => {
    const devices = new FakeDevices();
    const { camera: opened } = camera(devices);
    turn('hidden');
    await opened.start(null);
    expect(devices.asked).toHaveLength(0);
    turn('visible');
    await liveAgain(opened);
  });

  test('a track that ends is opened anew; one that keeps ending is given up', async () => {
    const devices = new FakeDevices();
    const { camera: opened } = camera(devices);
    await opened.start(null);
    for (let ending = 0; ending < 3; ending++) {
      devices.last.end();
      await liveAgain(opened);
    }
    devices.last.end();
    expect(opened.state.value).toEqual({ kind: 'failed', trouble: 'stopped' });
  });

  test('an old track that ends late is nobody’s concern', async () => {
    const devices = new FakeDevices(['back', 'front']);
    const { camera: opened } = camera(devices);
    await opened.start('back');
    await opened.start('front');
    devices.tracks[0]!.end();
    expect(opened.state.value).toMatchObject({ kind: 'live', deviceId: 'front' });
  });

  test('the system may withhold frames for a while', async () => {
    const devices = new FakeDevices();
    const { camera: opened } = camera(devices);
    await opened.start(null);
    devices.last.dispatchEvent(new Event('mute'));
    expect(opened.state.value).toMatchObject({ kind: 'live', still: true });
    devices.last.dispatchEvent(new Event('unmute'));
    expect(opened.state.value).toMatchObject({ kind: 'live', still: false });
  });

  test('goes round all cameras', async () => {
    const { camera: opened } = camera(new FakeDevices(['a', 'b', 'c']));
    await opened.start(null);
    expect([await opened.next(), await opened.next(), await opened.next()]).toEqual(['b', 'c', 'a']);
  });

  test('one that is plugged in is counted, and ends the wait for one', async () => {
    const devices = new FakeDevices([]);
    const { camera: opened } = camera(devices);
    await opened.start(null);
    expect(opened.state.value).toEqual({ kind: 'failed', trouble: 'none' });
    devices.ids = ['usb'];
    devices.dispatchEvent(new Event('devicechange'));
    await liveAgain(opened);
    devices.ids = ['usb', 'other'];
    devices.dispatchEvent(new Event('devicechange'));
    await vi.waitFor(() => expect(opened.state.value).toMatchObject({ cameras: 2 }));
  });
});

describe('torch and zoom', () => {
  test('are there where the camera says so, and are told to it', async () => {
    const devices = new FakeDevices();
    devices.capabilities = { torch: true, zoom: { min: 1, max: 8, step: 0.1 } };
    const { camera: opened } = camera(devices);
    await opened.start(null);
    await opened.setTorch(true);
    await opened.setZoom(2);
    expect(opened.state.value).toMatchObject({ torch: true, zoom: 2, lens: { torch: true, zoom: { max: 8 } } });
    expect(devices.last.applied).toEqual([{ advanced: [{ torch: true }] }, { advanced: [{ zoom: 2 }] }]);
  });

  test('a camera that refuses keeps its state', async () => {
    const devices = new FakeDevices();
    devices.capabilities = { torch: true };
    const { camera: opened } = camera(devices);
    await opened.start(null);
    devices.last.applyConstraints = () => Promise.reject(new DOMException('no', 'OverconstrainedError'));
    await opened.setTorch(true);
    expect(opened.state.value).toMatchObject({ torch: false });
  });
});
