/** The reference zstd decoder, WebAssembly as base64; assembly/zstd.mjs makes it. */
export const binary: string;
