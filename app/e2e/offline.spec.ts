/** Everything that is needed is on the device after the first visit, and nothing is asked for after that. */
import { expect, test } from '@playwright/test';
import { Served } from './served.ts';
import { ready } from './visit.ts';

let served: Served;

test.beforeEach(async () => {
  served = await Served.start();
});

test.afterEach(() => served.stop());

test('the app starts with the server killed and the network off', async ({ page, context }) => {
  await page.goto(served.url);
  await ready(page);
  await served.stop();
  await context.setOffline(true);
  await page.reload();
  await ready(page);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
});

test('a page closed in mid-install goes on where it was', async ({ context }) => {
  const first = await context.newPage();
  const parts: string[] = [];
  context.on('request', (request) => {
    const range = request.headers()['range'];
    if (range && !request.serviceWorker()) parts.push(`${new URL(request.url()).pathname} ${range}`);
  });
  const third = new Promise<void>((resolve) => context.on('request', () => void (parts.length > 2 && resolve())));
  await first.goto(served.url);
  await third;
  await first.close();
  const second = await context.newPage();
  await second.goto(served.url);
  await ready(second);
  // The one that was under way when the page closed may come twice.
  expect(parts.length - new Set(parts).size).toBeLessThanOrEqual(1);
});

test('files that the browser wiped are fetched again, and without a network it says so', async ({ page }) => {
  await page.goto(served.url);
  await ready(page);
  const wipe = async (): Promise<void> => {
    for (const name of await caches.keys()) await caches.delete(name);
  };
  await page.evaluate(wipe);
  await page.reload();
  await ready(page);
  await page.evaluate(wipe);
  await served.stop();
  await page.reload();
  await expect(page.locator('body')).toContainText('Connect to the network once');
});
