/** Cache Storage in memory: Node has none. Room can be limited, as a browser's quota does. */
export class MemoryCaches {
  room = Infinity;
  readonly #caches = new Map<string, Map<string, Uint8Array<ArrayBuffer>>>();

  get used(): number {
    return [...this.#caches.values()]
      .flatMap((cache) => [...cache.values()])
      .reduce((sum, body) => sum + body.length, 0);
  }

  /** What browsers do when the disk gets full. */
  wipe(): void {
    this.#caches.clear();
  }

  async open(name: string): Promise<Cache> {
    const entries = this.#caches.get(name) ?? new Map<string, Uint8Array<ArrayBuffer>>();
    this.#caches.set(name, entries);
    const cache = {
      keys: async () => [...entries.keys()].map((url) => new Request(url)),
      match: async (url: string) => {
        const body = entries.get(url);
        return body && new Response(body);
      },
      put: async (url: string, response: Response) => {
        const body = new Uint8Array(await response.arrayBuffer());
        if (this.used + body.length > this.room) throw new DOMException('full', 'QuotaExceededError');
        entries.set(url, body);
      },
      delete: async (request: Request) => entries.delete(request.url),
    };
    return cache as unknown as Cache;
  }
}
