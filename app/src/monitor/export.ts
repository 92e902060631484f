/** The monitor's history as a JSON file, for whoever wants to look closer. */
import type { Sample } from './sample.ts';

export function historyFile(samples: readonly Sample[], agent: string): File {
  const content = { exported: new Date().toISOString(), agent, samples };
  return new File([JSON.stringify(content, null, 1)], 'pocketlens-monitor.json', { type: 'application/json' });
}
