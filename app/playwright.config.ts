import { defineConfig } from '@playwright/test';
import { CAMERA } from './e2e/places.ts';

export default defineConfig({
  testDir: 'e2e',
  outputDir: 'test-results/runs',
  globalSetup: './e2e/setup.ts',
  reporter: 'list',
  // One browser at a time: the app measures what it does.
  workers: 1,
  timeout: 120_000,
  // On a shared machine a second look tells a slow moment from a fault; what needed one is listed as flaky.
  retries: process.env['CI'] ? 1 : 0,
  use: {
    viewport: { width: 390, height: 844 },
    deviceScaleFactor: 2,
    hasTouch: true,
    locale: 'en',
    permissions: ['camera'],
    launchOptions: {
      executablePath: process.env['PLAYWRIGHT_CHROMIUM'] ?? '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--use-fake-ui-for-media-stream',
        '--use-fake-device-for-media-stream',
        `--use-file-for-fake-video-capture=${CAMERA}`,
      ],
    },
  },
});
