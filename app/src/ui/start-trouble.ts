/** Why the app cannot start, in words that a translation can be found for. */
import { FailureError } from '../failure.ts';
import { CatalogError } from '../install/catalog.ts';
import { InstallError, type InstallCode } from '../install/install-error.ts';
import type { Secured } from '../install/ready.ts';

export type StartTrouble =
  Exclude<Secured['problem'], null> | Exclude<InstallCode, 'stopped'> | 'newer' | 'no-model' | 'memory' | 'runtime';

/** What was thrown on the way to an open model, as what the page says. */
export function troubleAtStart(error: unknown): StartTrouble {
  if (error instanceof InstallError) {
    return error.code === 'stopped' ? 'offline' : error.code;
  }
  if (error instanceof CatalogError) return error.code;
  if (error instanceof FailureError) {
    return error.code === 'corrupt' || error.code === 'newer' || error.code === 'memory' ? error.code : 'runtime';
  }
  // fetch rejects with a TypeError when the network is gone.
  return error instanceof TypeError ? 'offline' : 'runtime';
}
