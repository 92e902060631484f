/** A way to run a model, in words. */
import type { Way } from '../engine/protocol.ts';
import { say, sayCount } from '../i18n/speech.ts';

export function wayName({ graph, provider, threads }: Way): string {
  const place = provider === 'webgpu' ? say('onGpu') : sayCount('threads', threads);
  return `${graph} · ${place}`;
}
