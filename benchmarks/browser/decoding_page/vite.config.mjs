/** Builds the page as app/vite.config.ts builds the app. It lies outside of app/, so it imports nothing. */
export default {
  base: './',
  resolve: {
    conditions: ['onnxruntime-web-use-extern-wasm', 'module', 'browser', 'development|production'],
  },
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false }, emptyOutDir: true },
  worker: { format: 'es' },
};
