/** The last day's samples, in IndexedDB; where there is none, in memory while the page is open. */
import type { Database } from '../store/database.ts';
import type { Sample } from './sample.ts';

/** One row each ten seconds for a day. */
export const MOST_SAMPLES = 24 * 360;
/** Old rows leave in batches, so that not each new one costs a deletion. */
const SLACK = 360;

export class History {
  private kept: Sample[] = [];

  constructor(
    private readonly database: Database | null,
    private readonly most = MOST_SAMPLES,
    private readonly slack = SLACK,
  ) {}

  async add(sample: Sample): Promise<void> {
    if (!this.database) {
      this.kept = [...this.kept, sample].slice(-this.most);
      return;
    }
    try {
      const store = this.database.transaction('samples', 'readwrite').store;
      await store.put(sample);
      const excess = (await store.count()) - this.most;
      if (excess < this.slack) return;
      const last = (await store.getAllKeys(null, excess)).at(-1);
      if (last !== undefined) await store.delete(IDBKeyRange.upperBound(last));
    } catch {
      // Storage full or wiped: a row of the monitor is not worth a word.
    }
  }

  /** Oldest first. */
  async samples(): Promise<Sample[]> {
    if (!this.database) return this.kept;
    return this.database.getAll('samples').catch(() => []);
  }

  async clear(): Promise<void> {
    this.kept = [];
    await this.database?.clear('samples').catch(() => undefined);
  }
}
