/** How far an install is, over all its files. */
import type { SiteFile } from './catalog.ts';
import type { Inventory } from './part-store.ts';
import { partsOf } from './part-store.ts';

export interface Progress {
  /** The file that is being fetched. */
  path: string;
  loaded: number;
  total: number;
  /** Over the last seconds; 0 until there is one. */
  bytesPerSecond: number;
}

/** Speed is a mean over so long; shorter jumps, longer lags. */
const WINDOW_MS = 4000;

/** Counts bytes as they come, and tells. What was stored before counts as loaded, and not for the speed. */
export class Meter {
  readonly #total: number;
  readonly #loaded = new Map<SiteFile, number>();
  readonly #tell: ((progress: Progress) => void) | undefined;
  readonly #now: () => number;
  #arrivals: { time: number; bytes: number }[] = [];

  constructor(
    files: SiteFile[],
    stored: Inventory,
    tell: ((progress: Progress) => void) | undefined,
    now: () => number = () => performance.now(),
  ) {
    this.#total = files.reduce((sum, file) => sum + file.size, 0);
    this.#tell = tell;
    this.#now = now;
    for (const file of files) {
      const parts = partsOf(file).filter((part) => stored.parts(file).has(part.index));
      this.#loaded.set(
        file,
        parts.reduce((sum, part) => sum + part.end - part.start, 0),
      );
    }
  }

  /** Bytes that have not come yet. */
  get left(): number {
    return this.#total - this.#sum();
  }

  received(file: SiteFile, bytes: number): void {
    const time = this.#now();
    this.#loaded.set(file, (this.#loaded.get(file) ?? 0) + bytes);
    this.#arrivals.push({ time, bytes });
    this.#arrivals = this.#arrivals.filter((arrival) => time - arrival.time < WINDOW_MS);
    this.#tell?.({ path: file.path, loaded: this.#sum(), total: this.#total, bytesPerSecond: this.#speed(time) });
  }

  /** All of a file has to be fetched again. */
  dropped(file: SiteFile): void {
    this.#loaded.set(file, 0);
  }

  #sum(): number {
    return [...this.#loaded.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  #speed(time: number): number {
    const [first, ...later] = this.#arrivals;
    if (!first || time - first.time < 200) return 0;
    return (later.reduce((sum, arrival) => sum + arrival.bytes, 0) / (time - first.time)) * 1000;
  }
}
