/** Nothing leaves: what is sent on purpose does not arrive, and a whole session asks for nothing. */
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import { PHOTOS } from './places.ts';
import { ANYWHERE, IN_PAGES, IN_WORKERS, Thief } from './thief.ts';
import type { Attempt } from './thief.ts';
import { answer, look, openPhoto, settings, sharedApp, shutter } from './visit.ts';

test.describe.configure({ mode: 'serial' });

const PATIENCE_MS = 1500;

const app = sharedApp();
let thief: Thief;

test.beforeEach(async () => {
  thief = await Thief.start();
});

test.afterEach(() => thief.stop());

/** A page, a worker or a service worker. */
interface Realm {
  evaluate(attempt: Attempt, host: string): Promise<unknown>;
}

async function tried(realm: Realm, attempt: Attempt): Promise<string[]> {
  const done = realm.evaluate(attempt, thief.host).catch(() => undefined);
  await Promise.race([done, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  return thief.got;
}

for (const [name, attempt] of Object.entries({ ...ANYWHERE, ...IN_WORKERS, ...IN_PAGES })) {
  test(`from an ordinary page it would arrive: ${name}`, async ({ page: ordinary }) => {
    const other = await Thief.start();
    await ordinary.goto(`http://localhost:${other.host.split(':')[1]}/`);
    expect(await tried(ordinary, attempt)).not.toEqual([]);
    other.stop();
  });

  test(`from the app's page it does not: ${name}`, async () => {
    expect(await tried(app.page, attempt)).toEqual([]);
    expect(new URL(app.page.url()).origin).toBe(new URL(app.served.url).origin);
  });
}

for (const [name, attempt] of Object.entries({ ...ANYWHERE, ...IN_WORKERS })) {
  test(`from the engine's worker it does not: ${name}`, async () => {
    await expect.poll(() => app.page.workers().length).toBeGreaterThan(0);
    for (const worker of app.page.workers()) expect(await tried(worker, attempt)).toEqual([]);
  });
}

for (const [name, attempt] of Object.entries(ANYWHERE)) {
  test(`from the service worker it does not: ${name}`, async () => {
    const [worker] = app.context.serviceWorkers();
    expect(worker).toBeDefined();
    expect(await tried(worker!, attempt)).toEqual([]);
  });
}

test('the page cannot reach the host with what it saw', async () => {
  const asked: string[] = [];
  const note = (request: { url(): string; serviceWorker(): unknown }): void => {
    if (request.serviceWorker()) asked.push(request.url());
  };
  app.context.on('request', note);
  const answered = await app.page.evaluate(async () => {
    const tries = [
      fetch('./index.html?frame=secret'),
      fetch('./secret-frame'),
      fetch('./', { method: 'POST', body: 'frame' }),
    ];
    return (await Promise.allSettled(tries)).map((each) => each.status === 'fulfilled' && each.value.ok);
  });
  app.context.off('request', note);
  expect(answered).toEqual([false, false, false]);
  expect(asked).toEqual([]);
});

test('there is no WebRTC', async () => {
  expect(await app.page.evaluate(() => 'RTCPeerConnection' in window)).toBe(false);
});

test('a whole session asks the network for nothing', async () => {
  const asked: string[] = [];
  // What a page asks is answered by the service worker; only what that one asks goes out.
  const note = (request: { url(): string; serviceWorker(): unknown }): void => {
    if (request.serviceWorker() || new URL(request.url()).origin !== new URL(app.served.url).origin)
      asked.push(request.url());
  };
  app.context.on('request', note);
  await app.page.reload();
  await look(app.page, app.served.url);
  await expect(answer(app.page)).toBeVisible();
  await shutter(app.page).click();
  await app.page.keyboard.press('Escape');
  const [photo] = readdirSync(PHOTOS).filter((name) => name.endsWith('.jpg'));
  await openPhoto(app.page, resolve(PHOTOS, photo!));
  await app.page.getByRole('button', { name: 'Back to the camera' }).click();
  for (const mode of ['Products', 'Landmarks', 'Objects']) await app.page.getByRole('tab', { name: mode }).click();
  await settings(app.page, 'Monitor');
  await app.page.waitForTimeout(5000);
  app.context.off('request', note);
  expect(asked.filter((url) => !url.startsWith('blob:') && !url.endsWith('/sw.js'))).toEqual([]);
});
