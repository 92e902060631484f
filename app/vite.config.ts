/// <reference types="vitest/config" />
import { resolve } from 'node:path';
import { defineConfig } from 'vite';
import { VitePWA } from 'vite-plugin-pwa';

export default defineConfig({
  // Relative, so that the site works under any path prefix.
  base: './',
  build: {
    outDir: resolve(import.meta.dirname, '../src/pocketlens/server/app'),
    emptyOutDir: true,
    target: 'es2022',
    // The runtime is a file of its own that the installer fetches in parts; nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: 'es' },
  plugins: [
    VitePWA({
      strategies: 'injectManifest',
      srcDir: 'src',
      filename: 'sw.ts',
      injectRegister: false,
      manifest: false,
      injectManifest: {
        globPatterns: ['**/*.{html,js,mjs,css,svg,png,webmanifest,woff2}', '**/resize*.wasm'],
        // Of the runtimes only small glue is precached; their wasm is installed in parts.
        globIgnores: ['**/ort*.wasm'],
        maximumFileSizeToCacheInBytes: 2_000_000,
      },
    }),
  ],
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
});
