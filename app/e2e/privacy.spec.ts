/** Nothing leaves: what is sent on purpose does not arrive, and a whole session asks for nothing. */
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import type { BrowserContext, Page } from '@playwright/test';
import { PHOTOS } from './places.ts';
import { Served } from './served.ts';
import { ANYWHERE, IN_PAGES, IN_WORKERS, Thief } from './thief.ts';
import type { Attempt } from './thief.ts';
import { answer, look, openPhoto, settings, shutter, visitor } from './visit.ts';

test.describe.configure({ mode: 'serial' });

const PATIENCE_MS = 1500;

let served: Served;
let context: BrowserContext;
let page: Page;
let thief: Thief;

test.beforeAll(async ({ browser }) => {
  served = await Served.start();
  context = await visitor(browser);
  page = await context.newPage();
  await look(page, served.url);
});

test.afterAll(async () => {
  await context.close();
  await served.stop();
});

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
    expect(await tried(page, attempt)).toEqual([]);
    expect(new URL(page.url()).origin).toBe(new URL(served.url).origin);
  });
}

for (const [name, attempt] of Object.entries({ ...ANYWHERE, ...IN_WORKERS })) {
  test(`from the engine's worker it does not: ${name}`, async () => {
    await expect.poll(() => page.workers().length).toBeGreaterThan(0);
    for (const worker of page.workers()) expect(await tried(worker, attempt)).toEqual([]);
  });
}

for (const [name, attempt] of Object.entries(ANYWHERE)) {
  test(`from the service worker it does not: ${name}`, async () => {
    const [worker] = context.serviceWorkers();
    expect(worker).toBeDefined();
    expect(await tried(worker!, attempt)).toEqual([]);
  });
}

test('the page cannot reach the host with what it saw', async () => {
  const asked: string[] = [];
  const note = (request: { url(): string; serviceWorker(): unknown }): void => {
    if (request.serviceWorker()) asked.push(request.url());
  };
  context.on('request', note);
  const answered = await page.evaluate(async () => {
    const tries = [
      fetch('./index.html?frame=secret'),
      fetch('./secret-frame'),
      fetch('./', { method: 'POST', body: 'frame' }),
    ];
    return (await Promise.allSettled(tries)).map((each) => each.status === 'fulfilled' && each.value.ok);
  });
  context.off('request', note);
  expect(answered).toEqual([false, false, false]);
  expect(asked).toEqual([]);
});

test('there is no WebRTC', async () => {
  expect(await page.evaluate(() => 'RTCPeerConnection' in window)).toBe(false);
});

test('a whole session asks the network for nothing', async () => {
  const asked: string[] = [];
  // What a page asks is answered by the service worker; only what that one asks goes out.
  const note = (request: { url(): string; serviceWorker(): unknown }): void => {
    if (request.serviceWorker() || new URL(request.url()).origin !== new URL(served.url).origin)
      asked.push(request.url());
  };
  context.on('request', note);
  await page.reload();
  await look(page, served.url);
  await expect(answer(page)).toBeVisible();
  await shutter(page).click();
  await page.keyboard.press('Escape');
  const [photo] = readdirSync(PHOTOS).filter((name) => name.endsWith('.jpg'));
  await openPhoto(page, resolve(PHOTOS, photo!));
  await page.getByRole('button', { name: 'Back to the camera' }).click();
  for (const mode of ['Products', 'Landmarks', 'Objects']) await page.getByRole('tab', { name: mode }).click();
  await settings(page, 'Monitor');
  await page.waitForTimeout(5000);
  context.off('request', note);
  expect(asked.filter((url) => !url.startsWith('blob:') && !url.endsWith('/sw.js'))).toEqual([]);
});
