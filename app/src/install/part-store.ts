/** Parts of large files in the browser's cache, found by the SHA-256 of the whole. */
import { everything } from './catalog.ts';
import type { Catalog, SiteFile } from './catalog.ts';
import { InstallError } from './install-error.ts';

/** What a lost network costs at most. */
export const PART_BYTES = 1024 * 1024;

/** A stretch of a file: bytes [start, end). */
export interface Part {
  index: number;
  start: number;
  end: number;
}

/** The parts of a file, in order; an empty file has none. */
export function partsOf(file: SiteFile): Part[] {
  return Array.from({ length: Math.ceil(file.size / PART_BYTES) }, (_, index) => {
    const start = index * PART_BYTES;
    return { index, start, end: Math.min(start + PART_BYTES, file.size) };
  });
}

/** What was in the cache when it was asked. */
export class Inventory {
  readonly #names: ReadonlySet<string>;

  constructor(names: ReadonlySet<string>) {
    this.#names = names;
  }

  /** Indices of the parts that are there. */
  parts(file: SiteFile): Set<number> {
    const indices = partsOf(file).map((part) => part.index);
    return new Set(indices.filter((index) => this.#names.has(`${file.sha256}/${index}`)));
  }

  /** Whether all parts are there and their SHA-256 was right. */
  isWhole(file: SiteFile): boolean {
    return this.#names.has(`${file.sha256}/${WHOLE}`) && this.parts(file).size === partsOf(file).length;
  }
}

const WHOLE = 'whole';

/** Two sites on one origin have a cache each. */
export class PartStore {
  readonly #caches: Pick<CacheStorage, 'open'>;
  readonly #name: string;
  readonly #root: string;

  constructor(caches: Pick<CacheStorage, 'open'>, base: string) {
    this.#caches = caches;
    this.#name = `pocketlens-files ${base}`;
    this.#root = new URL('parts/', base).href;
  }

  async inventory(): Promise<Inventory> {
    const keys = await (await this.#cache()).keys();
    return new Inventory(new Set(keys.map((key) => key.url.slice(this.#root.length))));
  }

  async put(file: SiteFile, part: number, content: Uint8Array<ArrayBuffer>): Promise<void> {
    await (await this.#cache()).put(this.#url(file, part), new Response(content));
  }

  /** Note that the parts are there and right. */
  async finish(file: SiteFile): Promise<void> {
    await (await this.#cache()).put(this.#url(file, WHOLE), new Response(''));
  }

  /**
   * The file as it lay on the host: its bytes stay where the browser keeps them until they are read.
   *
   * @throws InstallError "missing".
   */
  async blob(file: SiteFile): Promise<Blob> {
    const cache = await this.#cache();
    const parts = partsOf(file).map(async ({ index, start, end }) => {
      const content = await (await cache.match(this.#url(file, index)))?.blob();
      if (content?.size !== end - start) {
        throw new InstallError('missing', `${file.path} is not on this device; connect once to fetch it again`);
      }
      return content;
    });
    return new Blob(await Promise.all(parts));
  }

  async remove(file: SiteFile): Promise<void> {
    await this.#drop((name) => name.startsWith(`${file.sha256}/`));
  }

  /** Drop the parts of all files that the catalog does not name. */
  async keepOnly(catalog: Catalog): Promise<void> {
    const named = new Set(everything(catalog).map((file) => file.sha256));
    await this.#drop((name) => !named.has(name.split('/', 1)[0] ?? ''));
  }

  async #drop(unwanted: (name: string) => boolean): Promise<void> {
    const cache = await this.#cache();
    for (const key of await cache.keys()) {
      if (unwanted(key.url.slice(this.#root.length))) await cache.delete(key);
    }
  }

  /** Opened each time: a cache that the browser wiped is made anew. */
  #cache(): Promise<Cache> {
    return this.#caches.open(this.#name);
  }

  #url(file: SiteFile, part: number | typeof WHOLE): string {
    return `${this.#root}${file.sha256}/${part}`;
  }
}
