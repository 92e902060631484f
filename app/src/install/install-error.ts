/**
 * Why an install stopped.
 *
 * - offline: the network is gone
 * - host: the host answers with an error, or holds another version than the catalog (check for an update)
 * - corrupt: what came has not the catalog's SHA-256, twice
 * - quota: the browser gives no more room; see `neededBytes` and `freeBytes`
 * - missing: a file that is to be read is not, or no longer, on the device
 * - stopped: the caller's signal
 */
export type InstallCode = 'offline' | 'host' | 'corrupt' | 'quota' | 'missing' | 'stopped';

/** An install, or the reading of what it stored, that cannot go on. */
export class InstallError extends Error {
  readonly code: InstallCode;
  /** With "quota": what is left to store. */
  readonly neededBytes: number;
  /** With "quota": what the browser says is free. */
  readonly freeBytes: number;

  constructor(code: InstallCode, detail: string, neededBytes = 0, freeBytes = 0) {
    super(detail);
    this.name = 'InstallError';
    this.code = code;
    this.neededBytes = neededBytes;
    this.freeBytes = freeBytes;
  }
}
