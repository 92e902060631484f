/** SHA-256, as the web has it. */
import { FailureError } from '../failure.ts';

/** SHA-256 of bytes, 64 lower-case hexadecimal digits. */
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
