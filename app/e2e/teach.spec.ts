/** Things known by example: taught with the camera, kept, exported, imported again. */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import { MADE } from './places.ts';
import { answer, look, sharedApp } from './visit.ts';

test.describe.configure({ mode: 'serial' });

const EXPORTED = resolve(MADE, 'exported.gallery');

const app = sharedApp();

test.beforeAll(async () => {
  await app.page.getByRole('tab', { name: 'Products' }).click();
});

async function openThings(): Promise<void> {
  await app.page.getByRole('button', { name: 'My things' }).click();
}

test('an entry is taught by a few shots and known again', async () => {
  await expect(answer(app.page)).toHaveText('No products yet');
  await app.page.getByRole('button', { name: 'Teach' }).click();
  const shoot = app.page.getByRole('button', { name: 'Take a shot' });
  const save = app.page.getByRole('button', { name: 'Save', exact: true });
  for (let shots = 1; shots <= 3; shots++) {
    await expect(save).toBeDisabled();
    await shoot.click();
    await expect(app.page.getByRole('img', { name: `Shot ${shots}` })).toBeVisible();
    // Shots that look alike are refused: wait until the camera shows another photo.
    await app.page.waitForTimeout(2200);
  }
  await app.page.getByRole('textbox', { name: 'Name' }).fill('Thing of the shelf');
  await save.click();
  // The camera shows its photos in turn; those that were shot are known again when they come by.
  await expect(answer(app.page)).toHaveText('Thing of the shelf', { timeout: 60_000 });
});

test('what was taught is still there after a start', async () => {
  await app.page.reload();
  await look(app.page, app.served.url);
  await openThings();
  await app.page.getByRole('button', { name: /My products/ }).click();
  await expect(app.page.locator('pocket-gallery-entries').getByText('Thing of the shelf')).toBeVisible();
});

test('it is exported as one file that Python reads', async () => {
  const [file] = await Promise.all([
    app.page.waitForEvent('download'),
    app.page.getByRole('button', { name: 'Export' }).click(),
  ]);
  await file.saveAs(EXPORTED);
  expect(readFileSync(EXPORTED).subarray(0, 2).toString()).toBe('PK');
});

test('a removed gallery comes back by import', async () => {
  await app.page.getByRole('button', { name: 'Remove this gallery' }).click();
  await expect(app.page.getByText('Nothing here yet.')).toBeVisible();
  await app.page.locator('pocket-galleries input[type=file]').setInputFiles(EXPORTED);
  await expect(app.page.getByRole('button', { name: /My products/ })).toBeVisible();
});

test('a damaged gallery is refused in one line', async () => {
  const damaged = resolve(MADE, 'damaged.gallery');
  const bytes = readFileSync(EXPORTED);
  bytes.fill(7, bytes.length >> 1, (bytes.length >> 1) + 40);
  writeFileSync(damaged, bytes);
  await app.page.locator('pocket-galleries input[type=file]').setInputFiles(damaged);
  await expect(app.page.getByRole('alert')).toContainText('is not a gallery, or it is damaged');
});
