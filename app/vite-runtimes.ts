/** ONNX Runtime's wasm and its glue as files of the site, each once, the wasm packed so that any host sends few bytes. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

const DIST = resolve(import.meta.dirname, 'node_modules/onnxruntime-web/dist');

/**
 * For 'onnxruntime-web/wasm' and, with asyncify, for 'onnxruntime-web/webgpu' of onnxruntime-web 1.30;
 * src/pocketlens/server/site.py lists them in the catalog.
 */
const RUNTIMES = ['ort-wasm-simd-threaded', 'ort-wasm-simd-threaded.asyncify'];

export function runtimes(): Plugin {
  return {
    name: 'pocketlens-runtimes',
    apply: 'build',
    generateBundle() {
      for (const name of RUNTIMES) {
        const wasm = readFileSync(resolve(DIST, `${name}.wasm`));
        const glue = readFileSync(resolve(DIST, `${name}.mjs`));
        // Not .gz: hosts that know that ending send it as an encoding, and the browser unpacks it before the check.
        this.emitFile({ type: 'asset', fileName: `runtime/${name}.wasm.gzip`, source: gzipSync(wasm, { level: 9 }) });
        this.emitFile({ type: 'asset', fileName: `runtime/${name}.mjs`, source: glue });
      }
    },
  };
}
