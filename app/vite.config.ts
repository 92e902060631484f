/// <reference types="vitest/config" />
import { resolve } from 'node:path';
import { defaultClientConditions, defineConfig } from 'vite';
import { VitePWA } from 'vite-plugin-pwa';
import { runtimes } from './vite-runtimes.ts';

export default defineConfig({
  // Relative, so that the site works under any path prefix.
  base: './',
  // onnxruntime-web without its wasm and glue inside: they are files of the site, see vite-runtimes.ts.
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions] },
  build: {
    outDir: resolve(import.meta.dirname, '../src/pocketlens/server/app'),
    emptyOutDir: true,
    target: 'es2022',
    // A data: URL would need a hole in the content-security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: 'es' },
  plugins: [
    runtimes(),
    VitePWA({
      strategies: 'injectManifest',
      srcDir: 'src',
      filename: 'sw.ts',
      injectRegister: false,
      manifest: false,
      injectManifest: {
        // A classic script: Firefox before 147 takes no module as a service worker.
        rollupFormat: 'iife',
        // Everything of the app but the runtimes' wasm, which the installer fetches in parts.
        globPatterns: ['**/*.{html,js,mjs,css,svg,png,webmanifest,woff2,wasm}'],
        maximumFileSizeToCacheInBytes: 2_000_000,
      },
    }),
  ],
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
});
