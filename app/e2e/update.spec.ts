/** Another version of the site waits until the user agrees; then every tab takes it. */
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import type { Page } from '@playwright/test';
import { MADE, PYTHON, SITE } from './places.ts';
import { Served } from './served.ts';
import { ready } from './visit.ts';

const CHANGING = resolve(MADE, 'changing');

/** Replace the site by one of another title, with a bundle of another name. */
function change(): void {
  const [bundle] = readdirSync(resolve(SITE, 'bundles'));
  const renamed = resolve(MADE, 'renamed.lens');
  cpSync(resolve(SITE, 'bundles', String(bundle)), renamed);
  const args = ['-m', 'pocketlens', 'app', renamed, '--title', 'Second', '--out', CHANGING, '--force'];
  execFileSync(PYTHON, args, { stdio: 'ignore' });
}

/** The title of the version that the page runs. */
function title(page: Page): Promise<string> {
  return page.evaluate(async () => ((await (await fetch('catalog.json')).json()) as { title: string }).title);
}

test('an update waits, survives a restart, and reaches every tab when it is accepted', async ({ context }) => {
  rmSync(CHANGING, { recursive: true, force: true });
  cpSync(SITE, CHANGING, { recursive: true });
  const served = await Served.start(CHANGING);
  try {
    const page = await context.newPage();
    await page.goto(served.url);
    await ready(page);
    const other = await context.newPage();
    await other.goto(served.url);
    await ready(other);
    change();
    await page.evaluate(async () => (await navigator.serviceWorker.ready).update());
    await expect(page.getByText('An update is ready.')).toBeVisible({ timeout: 30_000 });
    expect(await title(page)).toBe('pocketlens');
    await page.reload();
    await ready(page);
    expect(await title(page)).toBe('pocketlens');
    const [reloaded] = await Promise.all([
      other.waitForEvent('load', { timeout: 60_000 }),
      page.getByRole('button', { name: 'Update', exact: true }).click(),
    ]);
    expect(reloaded).toBe(other);
    await expect.poll(() => title(page).catch(() => ''), { timeout: 60_000 }).toBe('Second');
    expect(await title(other)).toBe('Second');
    await ready(page);
  } finally {
    await served.stop();
  }
});
