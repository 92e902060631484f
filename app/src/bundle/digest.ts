/** SHA-256: of bytes that lie whole in memory as the web has it, of bytes that come in pieces by WebAssembly. */
import { createSHA256 } from 'hash-wasm';
import { FailureError } from '../failure.ts';

/** SHA-256 of bytes, 64 lower-case hexadecimal digits. The browser copies them first. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  if (!globalThis.crypto?.subtle) {
    throw new FailureError(
      'unsupported',
      'expected a secure page (https or localhost), got an insecure one; use https',
    );
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** SHA-256 of bytes that come in pieces. */
export interface Digest {
  update(piece: Uint8Array): void;
  /** 64 lower-case hexadecimal digits; no piece may come after it. */
  digest(): string;
}

/** A digest of nothing yet. */
export async function startSha256(): Promise<Digest> {
  return (await createSHA256()).init();
}
