/** Puts the large files of a site on the device, in parts, so that a lost network or a kill costs one part. */
import { sha256 } from '../bundle/digest.ts';
import { required } from './catalog.ts';
import type { Catalog, SiteFile } from './catalog.ts';
import { download } from './download.ts';
import { InstallError } from './install-error.ts';
import { PartStore, partsOf } from './part-store.ts';
import { Meter } from './progress.ts';
import type { Progress } from './progress.ts';

export { InstallError };
export type { Progress };

/** What the installer needs of a browser. */
export interface Browser {
  caches: Pick<CacheStorage, 'open'>;
  fetch: typeof fetch;
  storage: Pick<StorageManager, 'estimate' | 'persist' | 'persisted'>;
  /** Absent in Safari before 15.4; then two tabs may fetch twice, and nothing worse. */
  locks: Pick<LockManager, 'request'> | undefined;
  /** The folder that the site lies in, absolute. */
  base: string;
  /** Whether another version of the site waits, whose files may be half here. */
  updating: () => Promise<boolean>;
}

/** What is stored for this origin. */
export interface Usage {
  usedBytes: number;
  quotaBytes: number;
  /** Whether the browser promised not to wipe it when room gets short. */
  persisted: boolean;
}

export class Installer {
  readonly #browser: Browser;
  readonly #store: PartStore;

  constructor(browser: Browser = thisBrowser()) {
    this.#browser = browser;
    this.#store = new PartStore(browser.caches, browser.base);
  }

  /** Those of `files` that are not whole on the device: never fetched, half fetched, or wiped by the browser. */
  async missing(files: SiteFile[]): Promise<SiteFile[]> {
    const stored = await this.#store.inventory();
    return files.filter((file) => !stored.isWhole(file));
  }

  /**
   * Fetch and check whatever the app needs and has not, then drop what the catalog does not name (an older
   * version's files; those of an update that waits stay).
   *
   * @throws InstallError; what is stored stays, and the next call goes on from there.
   */
  async install(catalog: Catalog, onProgress?: (progress: Progress) => void, signal?: AbortSignal): Promise<void> {
    await this.add(required(catalog), onProgress, signal);
    if (!(await this.#browser.updating())) await this.#store.keepOnly(catalog);
  }

  /** As `install`, but these files, and nothing is dropped: the runtime for WebGPU, the files of an update. */
  async add(files: SiteFile[], onProgress?: (progress: Progress) => void, signal?: AbortSignal): Promise<void> {
    if (!(await this.missing(files)).length) return;
    await this.#browser.storage.persist().catch(() => false);
    await this.#alone(async () => {
      // Asked again: another tab may have fetched them while this one waited.
      const stored = await this.#store.inventory();
      const meter = new Meter(files, stored, onProgress);
      for (const file of files) {
        if (!stored.isWhole(file)) await this.#add(file, stored.parts(file), meter, signal);
      }
    }, signal);
  }

  /** A file as it lay on the host, to be read piece by piece. Throws InstallError "missing". */
  blob(file: SiteFile): Promise<Blob> {
    return this.#store.blob(file);
  }

  /** The content of a file, unpacked. Throws InstallError "missing". */
  async read(file: SiteFile): Promise<ArrayBuffer> {
    const blob = await this.blob(file);
    if (file.encoding === undefined) return blob.arrayBuffer();
    return new Response(blob.stream().pipeThrough(new DecompressionStream(file.encoding))).arrayBuffer();
  }

  /** Drop these. */
  async remove(files: SiteFile[]): Promise<void> {
    for (const file of files) await this.#store.remove(file);
  }

  async usage(): Promise<Usage> {
    const { usage = 0, quota = 0 } = await this.#browser.storage.estimate();
    return { usedBytes: usage, quotaBytes: quota, persisted: await this.#browser.storage.persisted() };
  }

  async #add(file: SiteFile, present: Set<number>, meter: Meter, signal: AbortSignal | undefined): Promise<void> {
    // Once more from the start when the sum is wrong: a host may have changed the file between two parts.
    for (const attempt of ['first', 'last']) {
      await this.#fetch(file, present, meter, signal);
      const stored = new Uint8Array(await (await this.blob(file)).arrayBuffer());
      if ((await sha256(stored)) === file.sha256) return this.#store.finish(file);
      await this.#store.remove(file);
      present = new Set();
      meter.dropped(file);
      if (attempt === 'last') {
        throw new InstallError('corrupt', `${file.path}: expected SHA-256 ${file.sha256}, got another, twice`);
      }
    }
  }

  async #fetch(file: SiteFile, present: Set<number>, meter: Meter, signal: AbortSignal | undefined): Promise<void> {
    const wanted = partsOf(file).filter((part) => !present.has(part.index));
    const url = new URL(file.path, this.#browser.base);
    for await (const arrived of download(this.#browser.fetch, url, file, wanted, signal)) {
      if ('bytes' in arrived) meter.received(file, arrived.bytes);
      else await this.#put(file, arrived.part, arrived.content, meter);
    }
  }

  async #put(file: SiteFile, part: number, content: Uint8Array<ArrayBuffer>, meter: Meter): Promise<void> {
    try {
      await this.#store.put(file, part, content);
    } catch (error) {
      if (!(error instanceof DOMException && error.name === 'QuotaExceededError')) throw error;
      const { usedBytes, quotaBytes } = await this.usage();
      const free = Math.max(0, quotaBytes - usedBytes);
      const needed = meter.left + content.length;
      const detail = `${file.path}: ${needed} bytes are still to be stored, the browser has room for ${free}`;
      throw new InstallError('quota', detail, needed, free);
    }
  }

  /** One tab at a time; the others wait, and find the work done. */
  async #alone(work: () => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    const { locks, base } = this.#browser;
    if (!locks) return work();
    try {
      await locks.request(`pocketlens install ${base}`, signal ? { signal } : {}, work);
    } catch (error) {
      throw signal?.aborted
        ? new InstallError('stopped', 'the install was stopped; it goes on when asked again')
        : error;
    }
  }
}

function thisBrowser(): Browser {
  const base = new URL('.', document.baseURI).href;
  return {
    caches: globalThis.caches,
    fetch: globalThis.fetch.bind(globalThis),
    storage: navigator.storage,
    locks: navigator.locks,
    base,
    updating: async () => Boolean((await navigator.serviceWorker?.getRegistration(base))?.waiting),
  };
}
