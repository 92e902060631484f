/** Point, tap, freeze, choose a photo: what a person sees is what Python sees. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import { demoBundle, PHOTOS, PYTHON } from './places.ts';
import { answer, openPhoto, sharedApp, shutter } from './visit.ts';

test.describe.configure({ mode: 'serial' });

const app = sharedApp();

test('the camera’s picture gets an answer that follows it', async () => {
  await expect(answer(app.page)).not.toHaveText('Point at something');
  const seen = new Set<string>();
  await expect
    .poll(async () => seen.add(await answer(app.page).innerText()).size, { timeout: 30_000 })
    .toBeGreaterThan(1);
});

test('a frozen picture stays, with all guesses, until one goes back', async () => {
  await shutter(app.page).click();
  await expect(app.page.getByRole('img', { name: 'The picture that you are looking at' })).toBeVisible();
  await expect(app.page.locator('pocket-answer ol li').first()).toBeVisible();
  // Until the held picture itself was read, the words are of the frame before it.
  await app.page.waitForTimeout(1500);
  const held = await answer(app.page).innerText();
  await app.page.waitForTimeout(3000);
  expect(await answer(app.page).innerText()).toBe(held);
  const [saved] = await Promise.all([
    app.page.waitForEvent('download'),
    app.page.getByRole('button', { name: 'Save this photo' }).click(),
  ]);
  expect(saved.suggestedFilename()).toMatch(/\.(jpe?g|png)$/);
  await app.page.keyboard.press('Escape');
  await expect(shutter(app.page)).toBeVisible();
});

test('a tap chooses what to look at, and a button goes back to the middle', async () => {
  const finder = app.page.locator('pocket-viewfinder').locator('.frame, .square, div').first();
  const before = await finder.boundingBox();
  await app.page.mouse.click(110, 160);
  const back = app.page.getByRole('button', { name: 'Look at the middle again' });
  await expect(back).toBeVisible();
  await expect.poll(async () => (await finder.boundingBox())?.y).toBeLessThan((before?.y ?? 0) - 20);
  await back.click();
  await expect(back).toBeHidden();
});

test('a photo gets the answer that Python gives', async () => {
  const photos = readdirSync(PHOTOS).filter((name) => name.endsWith('.jpg'));
  const paths = photos.map((name) => resolve(PHOTOS, name));
  const graph = await app.page.evaluate(() => {
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
    await openPhoto(app.page, path);
    // Until the photo itself is read, the words are of the camera's last picture. Of an unknown photo the nearest guess
    // stands below.
    const words = async (): Promise<string> =>
      (await app.page.locator('pocket-answer').locator('.label, .hint b').allInnerTexts()).join(' ').toLowerCase();
    await expect
      .poll(words, { message: photos[place] ?? path })
      .toContain(images[place]?.answers[0]?.label.toLowerCase());
    await app.page.getByRole('button', { name: 'Back to the camera' }).click();
  }
});

test('keyboard alone suffices', async () => {
  await app.page.locator('body').press(' ');
  await expect(app.page.getByRole('button', { name: 'Back to the camera' })).toBeVisible();
  await app.page.locator('body').press('Escape');
  await expect(shutter(app.page)).toBeVisible();
});
