import { createHash, randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Catalog, SiteFile } from '../../src/install/catalog.ts';
import { InstallError } from '../../src/install/install-error.ts';
import { Installer } from '../../src/install/installer.ts';
import type { Browser } from '../../src/install/installer.ts';
import { PART_BYTES } from '../../src/install/part-store.ts';
import type { Progress } from '../../src/install/progress.ts';
import { Host } from './host.ts';
import type { Habit } from './host.ts';
import { MemoryCaches } from './memory-caches.ts';

const SIZE = 2 * PART_BYTES + 5000;

let host: Host;
let caches: MemoryCaches;
let browser: Browser;
let installer: Installer;

beforeEach(async () => {
  host = new Host();
  caches = new MemoryCaches();
  const queue = new Map<string, Promise<unknown>>();
  browser = {
    caches,
    fetch,
    storage: {
      estimate: async () => ({ usage: caches.used, quota: caches.room }),
      persist: async () => true,
      persisted: async () => true,
    },
    locks: {
      request: (async (name: string, _options: object, work: () => Promise<unknown>) => {
        const before = queue.get(name) ?? Promise.resolve();
        const own = before.then(work, work);
        queue.set(name, own);
        return own;
      }) as unknown as LockManager['request'],
    },
    base: await host.start(),
    updating: async () => false,
  };
  installer = new Installer(browser);
});

afterEach(() => host.stop());

/** Put a file of random bytes on the host. */
function offer(path: string, size = SIZE, content: Uint8Array = randomBytes(size)): SiteFile {
  host.files.set(path, content);
  return { path, size: content.length, sha256: sha256(content) };
}

function catalogOf(model: SiteFile, webgpu: SiteFile, wasm: SiteFile): Catalog {
  const fields = { id: 'a', name: 'a', task: 'classification', fingerprint: 'f', classes: 2, dimensions: 0 };
  return {
    schema_version: 1,
    title: 'Test',
    version: '1',
    models: [{ ...fields, ...model, input: [8, 8] }],
    galleries: [],
    runtimes: [
      { ...wasm, provider: 'wasm', glue: 'runtime/a.mjs' },
      { ...webgpu, provider: 'webgpu', glue: 'runtime/b.mjs' },
    ],
  };
}

/** Not compared as arrays: that takes seconds a megabyte. */
function sha256(content: ArrayBuffer | Uint8Array): string {
  return createHash('sha256').update(new Uint8Array(content)).digest('hex');
}

async function failure(work: Promise<unknown>): Promise<InstallError> {
  const error: unknown = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(InstallError);
  return error as InstallError;
}

describe('a file', () => {
  it.each<Habit>(['ranges', 'whole', 'compressed', 'compressed ranges'])(
    'arrives whole from a host that does: %s',
    async (habit) => {
      host.habit = habit;
      const file = offer('bundles/a.lens');
      expect(await installer.missing([file])).toEqual([file]);
      await installer.add([file]);
      expect(await installer.missing([file])).toEqual([]);
      expect(sha256(await installer.read(file))).toBe(file.sha256);
    },
  );

  it('comes in parts, and is not asked for again', async () => {
    const file = offer('bundles/a.lens');
    await installer.add([file]);
    expect(host.requests).toEqual(['bytes=0-1048575', 'bytes=1048576-2097151', `bytes=2097152-${SIZE - 1}`]);
    await installer.add([file]);
    expect(host.requests).toHaveLength(3);
  });

  it.each([0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1])('may have %i bytes', async (size) => {
    const file = offer('bundles/a.lens', size);
    await installer.add([file]);
    expect((await installer.read(file)).byteLength).toBe(size);
  });

  it('is unpacked when it is read', async () => {
    const plain = randomBytes(3000);
    const file: SiteFile = { ...offer('runtime/a.wasm.gzip', 0, gzipSync(plain)), encoding: 'gzip' };
    await installer.add([file]);
    expect(new Uint8Array(await installer.read(file))).toEqual(new Uint8Array(plain));
  });

  it('can be read piece by piece, across its parts', async () => {
    const file = offer('bundles/a.lens');
    await installer.add([file]);
    const piece = (await installer.blob(file)).slice(PART_BYTES - 10, PART_BYTES + 10);
    const wanted = host.files.get('bundles/a.lens')!.subarray(PART_BYTES - 10, PART_BYTES + 10);
    expect(Buffer.from(await piece.arrayBuffer())).toEqual(Buffer.from(wanted));
  });

  it('that was wiped is missing, says so, and can be fetched again', async () => {
    const file = offer('bundles/a.lens');
    await installer.add([file]);
    caches.wipe();
    expect((await failure(installer.read(file))).code).toBe('missing');
    expect((await failure(installer.blob(file))).code).toBe('missing');
    expect(await installer.missing([file])).toEqual([file]);
    await installer.add([file]);
    expect((await installer.read(file)).byteLength).toBe(SIZE);
  });
});

describe('a lost network', () => {
  it.each<Habit>(['ranges', 'whole'])('costs one part at most (%s)', async (habit) => {
    host.habit = habit;
    host.patience = PART_BYTES + 1000;
    const file = offer('bundles/a.lens');
    expect((await failure(installer.add([file]))).code).toBe('offline');
    host.patience = Infinity;
    host.requests = [];
    await installer.add([file]);
    expect(host.requests[0]).toBe('bytes=1048576-2097151');
    expect(sha256(await installer.read(file))).toBe(file.sha256);
  });

  it('is "offline" when the host cannot be reached', async () => {
    const file = offer('bundles/a.lens');
    host.stop();
    expect((await failure(installer.add([file]))).code).toBe('offline');
  });

  it('is "stopped" when the caller stops it', async () => {
    const file = offer('bundles/a.lens');
    const stop = new AbortController();
    const work = installer.add([file], () => stop.abort(), stop.signal);
    expect((await failure(work)).code).toBe('stopped');
  });
});

describe('a host', () => {
  it('that is busy is asked again', async () => {
    const file = offer('bundles/a.lens', 100);
    host.troubles = [503];
    await installer.add([file]);
    expect(host.requests).toHaveLength(2);
  });

  it('without the file, or with a shorter one, ends it', async () => {
    const file = offer('bundles/a.lens');
    host.files.delete(file.path);
    expect((await failure(installer.add([file]))).code).toBe('host');
    host.files.set(file.path, randomBytes(10));
    expect((await failure(installer.add([file]))).code).toBe('host');
  });

  it('with other content is asked once more from the start, then it is corrupt and nothing is kept', async () => {
    const file = offer('bundles/a.lens', 100);
    host.files.set(file.path, randomBytes(100));
    expect((await failure(installer.add([file]))).code).toBe('corrupt');
    expect(host.requests).toHaveLength(2);
    expect(caches.used).toBe(0);
  });

  it('that changed the file between two parts is forgiven', async () => {
    const file = offer('bundles/a.lens');
    const right = host.files.get(file.path) ?? new Uint8Array();
    host.files.set(file.path, randomBytes(SIZE));
    host.patience = PART_BYTES;
    await failure(installer.add([file]));
    host.files.set(file.path, right);
    host.patience = Infinity;
    await installer.add([file]);
    expect(sha256(await installer.read(file))).toBe(file.sha256);
  });
});

it('says how much room it needs, and goes on when there is some', async () => {
  const [first, second] = [offer('bundles/a.lens'), offer('bundles/b.lens')];
  caches.room = SIZE + PART_BYTES + 10;
  const error = await failure(installer.add([first, second]));
  expect(error.code).toBe('quota');
  expect(error.neededBytes).toBe(SIZE - PART_BYTES);
  expect(error.freeBytes).toBe(10);
  expect(await installer.missing([first, second])).toEqual([second]);
  caches.room = Infinity;
  host.requests = [];
  await installer.add([first, second]);
  expect(host.requests).toHaveLength(2);
});

it('tells how far it is', async () => {
  const files = [offer('bundles/a.lens'), offer('bundles/b.lens', 300)];
  const told: Progress[] = [];
  await installer.add(files, (progress) => told.push(progress));
  expect(told.at(-1)).toMatchObject({ path: 'bundles/b.lens', loaded: SIZE + 300, total: SIZE + 300 });
  const loaded = told.map((progress) => progress.loaded);
  expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
});

it('fetches nothing twice when two tabs install at once', async () => {
  const file = offer('bundles/a.lens');
  await Promise.all([installer.add([file]), new Installer(browser).add([file])]);
  expect(host.requests).toHaveLength(3);
});

describe('an install', () => {
  it('takes what the catalog needs, leaves WebGPU, and drops what an older one had', async () => {
    const old = offer('bundles/old.lens', 10);
    await installer.add([old]);
    const [model, webgpu, wasm] = [offer('bundles/a.lens', 20), offer('runtime/b', 30), offer('runtime/a', 40)];
    await installer.install(catalogOf(model, webgpu, wasm));
    expect(await installer.missing([old, model, wasm, webgpu])).toEqual([old, webgpu]);
    expect(caches.used).toBe(60);
    await installer.remove([model]);
    expect(await installer.missing([model, wasm])).toEqual([model]);
  });

  it('keeps the files of an update that waits, and a runtime for WebGPU that was fetched', async () => {
    const next = offer('bundles/next.lens', 10);
    const [model, webgpu, wasm] = [offer('bundles/a.lens', 20), offer('runtime/b', 30), offer('runtime/a', 40)];
    await installer.add([next, webgpu]);
    await new Installer({ ...browser, updating: async () => true }).install(catalogOf(model, webgpu, wasm));
    expect(await installer.missing([next, model, wasm, webgpu])).toEqual([]);
    await installer.install(catalogOf(model, webgpu, wasm));
    expect(await installer.missing([next, model, wasm, webgpu])).toEqual([next]);
  });
});
