/** Point, tap, freeze, choose a photo: what a person sees is what Python sees. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import type { BrowserContext, Page } from '@playwright/test';
import { demoBundle, PHOTOS, PYTHON } from './places.ts';
import { Served } from './served.ts';
import { answer, look, openPhoto, shutter, visitor } from './visit.ts';

test.describe.configure({ mode: 'serial' });

let served: Served;
let context: BrowserContext;
let page: Page;

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

test('the camera’s picture gets an answer that follows it', async () => {
  await expect(answer(page)).not.toHaveText('Point at something');
  const seen = new Set<string>();
  await expect.poll(async () => seen.add(await answer(page).innerText()).size, { timeout: 30_000 }).toBeGreaterThan(1);
});

test('a frozen picture stays, with all guesses, until one goes back', async () => {
  await shutter(page).click();
  await expect(page.getByRole('img', { name: 'The picture that you are looking at' })).toBeVisible();
  await expect(page.locator('pocket-answer ol li').first()).toBeVisible();
  // Until the held picture itself was read, the words are of the frame before it.
  await page.waitForTimeout(1500);
  const held = await answer(page).innerText();
  await page.waitForTimeout(3000);
  expect(await answer(page).innerText()).toBe(held);
  const [saved] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Save this photo' }).click(),
  ]);
  expect(saved.suggestedFilename()).toMatch(/\.(jpe?g|png)$/);
  await page.keyboard.press('Escape');
  await expect(shutter(page)).toBeVisible();
});

test('a tap chooses what to look at, and a button goes back to the middle', async () => {
  const finder = page.locator('pocket-viewfinder').locator('.frame, .square, div').first();
  const before = await finder.boundingBox();
  await page.mouse.click(110, 160);
  const back = page.getByRole('button', { name: 'Look at the middle again' });
  await expect(back).toBeVisible();
  await expect.poll(async () => (await finder.boundingBox())?.y).toBeLessThan((before?.y ?? 0) - 20);
  await back.click();
  await expect(back).toBeHidden();
});

test('a photo gets the answer that Python gives', async () => {
  const photos = readdirSync(PHOTOS).filter((name) => name.endsWith('.jpg'));
  const paths = photos.map((name) => resolve(PHOTOS, name));
  const graph = await page.evaluate(() => {
    const { races } = JSON.parse(localStorage.getItem('pocketlens.settings') ?? '{}');
    return (Object.values(races)[0] as { laps: { way: { graph: string } }[] }).laps[0]?.way.graph;
  });
  const found = execFileSync(
    PYTHON,
    ['-m', 'pocketlens', 'recognize', demoBundle(), ...paths, '--graph', String(graph), '--json'],
    { encoding: 'utf8' },
  );
  const { images } = JSON.parse(found) as { images: { answers: { label: string }[] }[] };
  for (const [place, path] of paths.entries()) {
    await openPhoto(page, path);
    // Until the photo itself is read, the words are of the camera's last picture. Of an unknown photo the nearest guess
    // stands below.
    const words = async (): Promise<string> =>
      (await page.locator('pocket-answer').locator('.label, .hint b').allInnerTexts()).join(' ').toLowerCase();
    await expect
      .poll(words, { message: photos[place] ?? path })
      .toContain(images[place]?.answers[0]?.label.toLowerCase());
    await page.getByRole('button', { name: 'Back to the camera' }).click();
  }
});

test('keyboard alone suffices', async () => {
  await page.locator('body').press(' ');
  await expect(page.getByRole('button', { name: 'Back to the camera' })).toBeVisible();
  await page.locator('body').press('Escape');
  await expect(shutter(page)).toBeVisible();
});
