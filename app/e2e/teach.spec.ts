/** Things known by example: taught with the camera, kept, exported, imported again. */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import type { BrowserContext, Page } from '@playwright/test';
import { MADE } from './places.ts';
import { Served } from './served.ts';
import { answer, look, visitor } from './visit.ts';

test.describe.configure({ mode: 'serial' });

const EXPORTED = resolve(MADE, 'exported.gallery');

let served: Served;
let context: BrowserContext;
let page: Page;

test.beforeAll(async ({ browser }) => {
  served = await Served.start();
  context = await visitor(browser);
  page = await context.newPage();
  await look(page, served.url);
  await page.getByRole('tab', { name: 'Products' }).click();
});

test.afterAll(async () => {
  await context.close();
  await served.stop();
});

async function openThings(): Promise<void> {
  await page.getByRole('button', { name: 'My things' }).click();
}

test('an entry is taught by a few shots and known again', async () => {
  await expect(answer(page)).toHaveText('No products yet');
  await page.getByRole('button', { name: 'Teach' }).click();
  const shoot = page.getByRole('button', { name: 'Take a shot' });
  const save = page.getByRole('button', { name: 'Save', exact: true });
  for (let shots = 1; shots <= 3; shots++) {
    await expect(save).toBeDisabled();
    await shoot.click();
    await expect(page.getByRole('img', { name: `Shot ${shots}` })).toBeVisible();
    // Shots that look alike are refused: wait until the camera shows another photo.
    await page.waitForTimeout(2200);
  }
  await page.getByRole('textbox', { name: 'Name' }).fill('Thing of the shelf');
  await save.click();
  // The camera shows its photos in turn; those that were shot are known again when they come by.
  await expect(answer(page)).toHaveText('Thing of the shelf', { timeout: 60_000 });
});

test('what was taught is still there after a start', async () => {
  await page.reload();
  await look(page, served.url);
  await openThings();
  await page.getByRole('button', { name: /My products/ }).click();
  await expect(page.locator('pocket-gallery-entries').getByText('Thing of the shelf')).toBeVisible();
});

test('it is exported as one file that Python reads', async () => {
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Export' }).click(),
  ]);
  await file.saveAs(EXPORTED);
  expect(readFileSync(EXPORTED).subarray(0, 2).toString()).toBe('PK');
});

test('a removed gallery comes back by import', async () => {
  await page.getByRole('button', { name: 'Remove this gallery' }).click();
  await expect(page.getByText('Nothing here yet.')).toBeVisible();
  await page.locator('pocket-galleries input[type=file]').setInputFiles(EXPORTED);
  await expect(page.getByRole('button', { name: /My products/ })).toBeVisible();
});

test('a damaged gallery is refused in one line', async () => {
  const damaged = resolve(MADE, 'damaged.gallery');
  const bytes = readFileSync(EXPORTED);
  bytes.fill(7, bytes.length >> 1, (bytes.length >> 1) + 40);
  writeFileSync(damaged, bytes);
  await page.locator('pocket-galleries input[type=file]').setInputFiles(damaged);
  await expect(page.getByRole('alert')).toContainText('is not a gallery, or it is damaged');
});
