/** For everybody: no barrier that axe can find, large text, dark, turned, four languages; installable; any static host. */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import type { Page } from '@playwright/test';
import { MADE, PYTHON, SITE } from './places.ts';
import { ready, settings, sharedApp, shutter } from './visit.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
  id: string;
  impact: string;
  nodes: { html: string }[];
}

/** What axe finds serious or worse on the page as it stands. */
async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } };
    return (await axe.run()).violations;
  });
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
}

test.describe('the app', () => {
  test.describe.configure({ mode: 'serial' });

  const app = sharedApp();

  for (const colorScheme of ['light', 'dark'] as const) {
    test(`has no barrier that axe calls serious, ${colorScheme}`, async () => {
      // Contrast is of what stands still.
      await app.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await app.page.waitForTimeout(100);
      expect(await barriers(app.page)).toEqual([]);
      await shutter(app.page).click();
      expect(await barriers(app.page)).toEqual([]);
      await app.page.keyboard.press('Escape');
      for (const name of ['Model and speed', 'Monitor', 'Storage', 'About and privacy']) {
        await settings(app.page, name);
        await expect(app.page.getByRole('heading', { name })).toBeVisible();
        expect(await barriers(app.page)).toEqual([]);
        await app.page.keyboard.press('Escape');
      }
      await app.page.getByRole('tab', { name: 'Products' }).click();
      await app.page.getByRole('button', { name: 'My things' }).click();
      expect(await barriers(app.page)).toEqual([]);
      await app.page.keyboard.press('Escape');
      await app.page.getByRole('button', { name: 'Teach' }).click();
      expect(await barriers(app.page)).toEqual([]);
      await app.page.getByRole('button', { name: 'Cancel' }).click();
      await app.page.getByRole('tab', { name: 'Objects' }).click();
    });
  }

  test('fits with text of twice the size', async () => {
    await app.page.evaluate(() => document.documentElement.style.setProperty('font-size', '200%'));
    const { scroll, client } = await app.page.evaluate(() => ({
      scroll: document.documentElement.scrollWidth,
      client: document.documentElement.clientWidth,
    }));
    expect(scroll).toBeLessThanOrEqual(client);
    await expect(shutter(app.page)).toBeInViewport();
    await app.page.evaluate(() => document.documentElement.style.removeProperty('font-size'));
  });

  for (const [name, width, height] of [
    ['turned', 844, 390],
    ['small', 320, 568],
    ['on a desk', 1280, 800],
  ] as const) {
    test(`has its shutter and its answer in view: ${name}`, async () => {
      await app.page.setViewportSize({ width, height });
      await expect(shutter(app.page)).toBeInViewport({ ratio: 1 });
      await expect(app.page.locator('pocket-answer .label').first()).toBeInViewport();
      const box = await shutter(app.page).boundingBox();
      expect(Math.min(box!.width, box!.height)).toBeGreaterThanOrEqual(48);
      await app.page.setViewportSize({ width: 390, height: 844 });
    });
  }

  test('speaks four languages', async () => {
    await settings(app.page);
    const choice = app.page.getByRole('combobox').first();
    for (const [tag, objects] of [
      ['es', 'Objetos'],
      ['de', 'Dinge'],
      ['fr', 'Objets'],
      ['en', 'Objects'],
    ] as const) {
      await choice.selectOption(tag);
      await expect(app.page.locator('pocket-modes').getByText(objects)).toBeAttached();
      expect(await app.page.evaluate(() => document.documentElement.lang)).toBe(tag);
    }
    await app.page.keyboard.press('Escape');
  });

  test('can be installed', async () => {
    const devtools = await app.context.newCDPSession(app.page);
    const { installabilityErrors } = await devtools.send('Page.getInstallabilityErrors');
    // Playwright's own contexts are like private windows, which install nothing.
    expect(installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito')).toEqual([]);
    const { data, errors } = await devtools.send('Page.getAppManifest');
    expect(errors).toEqual([]);
    const manifest = JSON.parse(data ?? '{}') as { display: string; icons: { sizes: string; purpose?: string }[] };
    expect(manifest.display).toBe('standalone');
    expect(manifest.icons.map(({ sizes }) => sizes)).toEqual(expect.arrayContaining(['192x192', '512x512']));
    expect(manifest.icons.some(({ purpose }) => purpose === 'maskable')).toBe(true);
  });
});

test('works on a plain host, below a path, with threads', async ({ page }) => {
  const root = resolve(MADE, 'host');
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root);
  cpSync(SITE, resolve(root, 'below/here'), { recursive: true });
  const port = 20_000 + (process.pid % 20_000);
  const host = spawn(PYTHON, ['-m', 'http.server', String(port), '--bind', '127.0.0.1', '-d', root], {
    stdio: 'ignore',
  });
  await expect
    .poll(
      () =>
        new Promise((answered) => {
          const socket = connect(port, '127.0.0.1', () => {
            socket.destroy();
            answered(true);
          });
          socket.on('error', () => answered(false));
        }),
    )
    .toBe(true);
  await page.goto(`http://localhost:${port}/below/here/`);
  await ready(page);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  host.kill();
});
