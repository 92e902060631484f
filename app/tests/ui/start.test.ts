// @vitest-environment happy-dom
import { describe, expect, test, vi } from 'vitest';
import { FailureError } from '../../src/failure.ts';
import { CatalogError } from '../../src/install/catalog.ts';
import { InstallError } from '../../src/install/install-error.ts';
import { CameraMessage } from '../../src/ui/camera-message.ts';
import { Start } from '../../src/ui/start.ts';
import { troubleAtStart } from '../../src/ui/start-trouble.ts';
import { show, words } from './show.ts';

describe('what was thrown, as what is said', () => {
  test.each([
    [new InstallError('quota', 'full', 8e6, 1e6), 'quota'],
    [new InstallError('missing', 'wiped'), 'missing'],
    [new InstallError('stopped', 'stopped'), 'offline'],
    [new CatalogError('newer', 'newer'), 'newer'],
    [new FailureError('corrupt', 'damaged'), 'corrupt'],
    [new FailureError('unsupported', 'no such operator'), 'runtime'],
    [new TypeError('Failed to fetch'), 'offline'],
    ['thrown', 'runtime'],
  ])('%s', (error, trouble) => expect(troubleAtStart(error)).toBe(trouble));
});

describe('the first page', () => {
  test('says how far the download is', async () => {
    const progress = { path: 'bundles/a.lens', loaded: 2_500_000, total: 10_000_000, bytesPerSecond: 0 };
    const start = await show(new Start(), { phase: { kind: 'installing', progress } });
    expect(words(start)).toContain('2.5 MB / 10 MB');
    expect(start.renderRoot.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow')).toBe('25');
  });

  test('says which way runs in the race', async () => {
    const progress = { share: 0.5, trying: { graph: 'float', provider: 'wasm', threads: 2 } as const };
    const start = await show(new Start(), { phase: { kind: 'racing', progress } });
    expect(words(start)).toContain('Finding the fastest way on this phone');
    expect(words(start)).toContain('float · 2 threads');
  });

  test('says how much room is missing, and tries again', async () => {
    const start = await show(new Start(), { phase: { kind: 'failed', trouble: 'quota', neededBytes: 8_000_000 } });
    expect(words(start)).toContain('8 MB');
    const again = vi.fn();
    start.addEventListener('again', again);
    start.renderRoot.querySelector('button')!.click();
    expect(again).toHaveBeenCalledOnce();
  });
});

describe('in place of the picture', () => {
  test('the camera is asked for, in words, before the browser asks', async () => {
    const message = await show(new CameraMessage(), { camera: { kind: 'off' }, asking: true });
    expect(words(message)).toContain('never stored or sent');
    expect(message.renderRoot.querySelector('[role=alert]')).toBeNull();
  });

  test.each(['refused', 'none', 'busy', 'stopped'] as const)('%s has a way out', async (trouble) => {
    const message = await show(new CameraMessage(), { camera: { kind: 'failed', trouble } });
    const start = vi.fn();
    message.addEventListener('start', start);
    message.renderRoot.querySelector('button')!.click();
    expect(start).toHaveBeenCalledOnce();
  });

  test('without a secure connection no button helps, words do', async () => {
    const message = await show(new CameraMessage(), { camera: { kind: 'failed', trouble: 'insecure' } });
    expect(message.renderRoot.querySelector('button')).toBeNull();
    expect(words(message)).toContain('https://');
  });

  test('nothing is in the way of a picture', async () => {
    const lens = { torch: false, zoom: null };
    const live = { kind: 'live', deviceId: 'a', cameras: 1, lens, torch: false, zoom: 1, still: false } as const;
    expect(words(await show(new CameraMessage(), { camera: live }))).toBe('');
  });
});
