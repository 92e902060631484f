/**
 * Takes the reference zstd decoder out of the package zstddec, which carries it as text and loads it by a way that our
 * content-security policy closes.
 *
 * node assembly/zstd.mjs OUT
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const text = readFileSync(fileURLToPath(import.meta.resolve('zstddec/stream')), 'utf8');
const encoded = /["'](AGFzbQ[A-Za-z0-9+/=]+)["']/.exec(text)?.[1];
if (!encoded) throw new Error('zstddec holds no WebAssembly as base64 any more; see how it carries it now');
const wasm = Buffer.from(encoded, 'base64');
const names = WebAssembly.Module.exports(new WebAssembly.Module(wasm)).map(({ name }) => name);
for (const name of ['memory', 'malloc', 'free', 'ZSTD_createDCtx', 'ZSTD_decompressStream']) {
  if (!names.includes(name)) throw new Error(`expected zstddec to export ${name}, it has ${names.join(', ')}`);
}
writeFileSync(process.argv[2], `/** Made by assembly/zstd.mjs: WebAssembly as base64. */\nexport const binary =\n  '${encoded}';\n`);
