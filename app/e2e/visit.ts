/** What the tests do as a person would. */
import { expect, test } from '@playwright/test';
import type { BrowserContext, Locator, Page } from '@playwright/test';
import { Served } from './served.ts';

/** A first visit fetches the runtime and the bundle, and races them. */
const INSTALL_MS = 90_000;

/** The app as several tests share it: served, installed once, and looking through the camera. */
export interface SharedApp {
  served: Served;
  context: BrowserContext;
  page: Page;
}

/** Call it where tests are declared; its fields are there once they run. */
export function sharedApp(): SharedApp {
  const app = {} as SharedApp;
  test.beforeAll(async ({ browser }) => {
    app.served = await Served.start();
    app.context = await browser.newContext({
      viewport: { width: 390, height: 844 },
      deviceScaleFactor: 2,
      hasTouch: true,
      locale: 'en',
      permissions: ['camera'],
    });
    app.page = await app.context.newPage();
    await look(app.page, app.served.url);
  });
  test.afterAll(async () => {
    await app.context.close();
    await app.served.stop();
  });
  return app;
}

/** Until the app stands ready, whether its camera runs or not. */
export async function ready(page: Page): Promise<void> {
  await expect(page.getByRole('button', { name: 'Settings' }).first()).toBeVisible({ timeout: INSTALL_MS });
}

/** Open the app and let it look. */
export async function look(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await ready(page);
  const start = page.getByRole('button', { name: 'Turn on the camera' });
  if (await start.isVisible()) await start.click();
  await expect(shutter(page)).toBeEnabled({ timeout: 20_000 });
}

export const shutter = (page: Page): Locator => page.getByRole('button', { name: 'Freeze the picture' });

/** The large words of the answer. */
export const answer = (page: Page): Locator => page.locator('pocket-answer .label').first();

/** Choose a photo as from the album, and wait until it is read. */
export async function openPhoto(page: Page, path: string): Promise<void> {
  await page.locator('pocket-controls input[type=file]').setInputFiles(path);
  await expect(page.getByRole('button', { name: 'Back to the camera' })).toBeVisible({ timeout: 30_000 });
  await expect(answer(page)).not.toHaveText('Point at something', { timeout: 30_000 });
}

/** A page of the settings. */
export async function settings(page: Page, name?: string): Promise<void> {
  await page.getByRole('button', { name: 'Settings' }).first().click();
  if (name) await page.getByRole('button', { name }).click();
}
