/** Why there is no camera, in words that a translation can be found for. */
export type Trouble = 'refused' | 'none' | 'busy' | 'insecure' | 'stopped';

/** What a rejection of getUserMedia means to the person. */
export function troubleOf(error: unknown): Trouble {
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError') return 'refused';
  if (name === 'SecurityError') return 'insecure';
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'none';
  // NotReadableError: another app holds it; AbortError: the driver gave up. Both go away by trying again.
  return 'busy';
}
