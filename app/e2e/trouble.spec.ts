/** What goes wrong says so in one line, with the way out, and goes on where it can. */
import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { chromium, expect, test } from '@playwright/test';
import type { Page } from '@playwright/test';
import { MADE, PHOTOS, PYTHON, SITE } from './places.ts';
import { Served } from './served.ts';
import { answer, openPhoto, ready, sharedApp, shutter } from './visit.ts';

/** A copy of the site in which something is changed. */
function spoilt(name: string, spoil: (site: string, bundle: string) => void): string {
  const site = resolve(MADE, `site-${name}`);
  rmSync(site, { recursive: true, force: true });
  cpSync(SITE, site, { recursive: true });
  const [bundle] = readdirSync(resolve(site, 'bundles'));
  spoil(site, resolve(site, 'bundles', bundle!));
  return site;
}

function python(code: string, ...args: string[]): void {
  execFileSync(PYTHON, ['-c', code, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Rewrite a bundle's manifest, and what the catalog says of the file. */
const NEWER = `
import hashlib, json, sys, zipfile
from pathlib import Path
site, bundle = map(Path, sys.argv[1:])
with zipfile.ZipFile(bundle) as old:
    entries = [(info, old.read(info)) for info in old.infolist()]
with zipfile.ZipFile(bundle, "w") as new:
    for info, content in entries:
        if info.filename == "manifest.json":
            content = json.dumps(json.loads(content) | {"schema_version": 99}).encode()
        new.writestr(info, content)
content = bundle.read_bytes()
catalog = json.loads((site / "catalog.json").read_text())
catalog["models"][0] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
(site / "catalog.json").write_text(json.dumps(catalog))
`;

/** A photo of 100 megapixels: a real one, many times as large. */
const LARGE = `
import sys
from PIL import Image
Image.MAX_IMAGE_PIXELS = None
Image.open(sys.argv[1]).convert("RGB").resize((11600, 8700)).save(sys.argv[2], quality=70)
`;

test.describe('a site', () => {
  let served: Served;

  test.afterEach(() => served.stop());

  test('with a corrupt bundle says that a file arrived damaged', async ({ page }) => {
    const site = spoilt('corrupt', (_, bundle) => {
      const bytes = readFileSync(bundle);
      bytes.fill(0, bytes.length >> 1, (bytes.length >> 1) + 16);
      writeFileSync(bundle, bytes);
    });
    served = await Served.start(site);
    await page.goto(served.url);
    await expect(page.getByRole('alert')).toContainText('A file arrived damaged', { timeout: 60_000 });
    await expect(page.getByRole('button', { name: 'Try again' })).toBeVisible();
  });

  test('with a bundle of a newer version says so', async ({ page }) => {
    served = await Served.start(spoilt('newer', (site, bundle) => python(NEWER, site, bundle)));
    await page.goto(served.url);
    await expect(page.getByRole('alert')).toContainText('made for a newer app', { timeout: 60_000 });
  });

  test('that does not fit says how much is needed, and goes on once there is room', async ({ page, context }) => {
    served = await Served.start();
    const devtools = await context.newCDPSession(page);
    const { origin } = new URL(served.url);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 4_000_000 });
    await page.goto(served.url);
    await expect(page.getByRole('alert')).toContainText(/There is not enough room.*MB/, { timeout: 60_000 });
    await devtools.send('Storage.overrideQuotaForOrigin', { origin });
    await page.getByRole('button', { name: 'Try again' }).click();
    await ready(page);
  });
});

test.describe('a camera', () => {
  let served: Served;

  test.beforeAll(async () => {
    served = await Served.start();
  });
  test.afterAll(() => served.stop());

  /** A browser of its own, with other flags. */
  async function visit(
    args: string[],
    prepare: (page: Page) => Promise<void>,
    see: (page: Page) => Promise<void>,
  ): Promise<void> {
    const context = await chromium.launchPersistentContext('', {
      executablePath: process.env['PLAYWRIGHT_CHROMIUM'] ?? '/usr/bin/chromium',
      args: ['--no-sandbox', ...args],
      viewport: { width: 390, height: 844 },
      locale: 'en',
    });
    const page = context.pages()[0]!;
    await prepare(page);
    await page.goto(served.url);
    await ready(page);
    await page.getByRole('button', { name: 'Turn on the camera' }).click();
    await see(page);
    await context.close();
  }

  test('that is not there is explained, and photos work meanwhile', async () => {
    await visit(
      [],
      async () => undefined,
      async (page) => {
        await expect(page.getByText('No camera here')).toBeVisible();
        await openPhoto(page, resolve(PHOTOS, 'coffee.jpg'));
        await expect(answer(page)).toHaveText('Espresso');
      },
    );
  });

  test('that is refused is explained', async () => {
    const refuse = async (page: Page): Promise<void> => {
      const devtools = await page.context().newCDPSession(page);
      await devtools.send('Browser.setPermission', { permission: { name: 'camera' }, setting: 'denied' });
    };
    await visit(['--use-fake-device-for-media-stream'], refuse, async (page) => {
      await expect(page.getByText('The camera is switched off for this app')).toBeVisible();
      await expect(page.getByRole('button', { name: 'Try again' })).toBeVisible();
    });
  });
});

test.describe('in the middle of it', () => {
  test.describe.configure({ mode: 'serial' });

  const app = sharedApp();

  test('a camera that stops comes back by itself', async () => {
    await app.page.evaluate(() => {
      const video = document
        .querySelector('pocket-lens')!
        .shadowRoot!.querySelector('pocket-viewer')!
        .shadowRoot!.querySelector('pocket-stage')!
        .shadowRoot!.querySelector('video')!;
      const [track] = (video.srcObject as MediaStream).getTracks();
      track!.stop();
      track!.dispatchEvent(new Event('ended'));
    });
    await expect(shutter(app.page)).toBeEnabled();
    await expect.poll(() => answer(app.page).innerText()).not.toBe('Point at something');
  });

  test('a photo of 100 megapixels is read', async () => {
    const large = resolve(MADE, 'large.jpg');
    python(LARGE, resolve(PHOTOS, 'coffee.jpg'), large);
    await openPhoto(app.page, large);
    await expect(answer(app.page)).toHaveText('Espresso', { timeout: 30_000 });
    await app.page.getByRole('button', { name: 'Back to the camera' }).click();
  });

  test('a file that is no photo gets one line', async () => {
    const broken = resolve(MADE, 'broken.jpg');
    writeFileSync(broken, readFileSync(resolve(PHOTOS, 'coffee.jpg')).subarray(0, 400));
    await app.page.locator('pocket-controls input[type=file]').setInputFiles(broken);
    await expect(app.page.getByText('This file is not a photo that the app can open.')).toBeVisible();
    await expect(shutter(app.page)).toBeEnabled();
  });

  test('a second tab takes the camera, and gives it back', async () => {
    const second = await app.context.newPage();
    await second.goto(app.served.url);
    await ready(second);
    const take = second.getByRole('button', { name: 'Use it here' });
    if (await take.isVisible()) await take.click();
    await expect(shutter(second)).toBeEnabled({ timeout: 20_000 });
    await expect(app.page.getByText('The camera is on in another tab')).toBeVisible();
    await second.close();
    await app.page.getByRole('button', { name: 'Use it here' }).click();
    await expect(shutter(app.page)).toBeEnabled({ timeout: 20_000 });
  });
});
