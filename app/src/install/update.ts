/** Updates: found by the browser's look at sw.js, applied when the user agrees, never before. */
import { required, webgpu } from './catalog.ts';
import type { Catalog, SiteFile } from './catalog.ts';
import { Installer } from './installer.ts';
import type { ToWorker } from './messages.ts';
import type { Progress } from './progress.ts';
import { loadCatalog, readable } from './read-catalog.ts';

/** In localStorage: when the host was asked last, milliseconds since 1970. */
const CHECKED = 'pocketlens checked';

const DAY_MS = 24 * 60 * 60 * 1000;

/** Calls back when another version of the site lies ready to be applied; returns what ends that. */
export function onUpdate(callback: () => void): () => void {
  const ended = new AbortController();
  void navigator.serviceWorker.ready.then((registration) => {
    const look = (): void => {
      if (registration.waiting && !ended.signal.aborted) callback();
    };
    const follow = (): void => {
      registration.installing?.addEventListener('statechange', look, { signal: ended.signal });
    };
    registration.addEventListener('updatefound', follow, { signal: ended.signal });
    follow();
    look();
  });
  return () => ended.abort();
}

/** Ask the host now. "waiting": another version is there, of which `onUpdate` tells too. */
export async function checkForUpdate(): Promise<'current' | 'waiting' | 'offline'> {
  const registration = await navigator.serviceWorker.ready;
  try {
    await registration.update();
  } catch {
    return 'offline';
  }
  localStorage.setItem(CHECKED, String(Date.now()));
  const next = registration.installing;
  if (next && (await settled(next)) === 'redundant') return 'offline';
  return registration.waiting ? 'waiting' : 'current';
}

/** Ask the host, unless it was asked in the last 24 hours or there is no network. */
export async function checkDaily(): Promise<void> {
  const checked = Number(localStorage.getItem(CHECKED) ?? 0);
  if (navigator.onLine && Date.now() - checked > DAY_MS) await checkForUpdate();
}

/**
 * Fetch the large files of the version that waits, then switch to it; every tab reloads. Until then nothing changes.
 *
 * @throws InstallError when the files cannot be fetched; another call goes on from there.
 */
export async function applyUpdate(
  onProgress?: (progress: Progress) => void,
  installer: Installer = new Installer(),
): Promise<void> {
  const { waiting } = await navigator.serviceWorker.ready;
  if (!waiting) return;
  const next = await catalogOf(waiting);
  // A catalog of a later schema is for the waiting version to read: it installs its files itself.
  if (next) await installer.add(await wanted(next, installer), onProgress);
  const changed = new Promise((resolve) => {
    navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true });
  });
  waiting.postMessage({ kind: 'activate' } satisfies ToWorker);
  await changed;
}

/** What the next version needs, and the runtime for WebGPU where this version has it. */
async function wanted(next: Catalog, installer: Installer): Promise<SiteFile[]> {
  const here = webgpu(await loadCatalog());
  const there = webgpu(next);
  const chosen = here && there && !(await installer.missing([here])).length;
  return chosen ? [...required(next), there] : required(next);
}

function catalogOf(worker: ServiceWorker): Promise<Catalog | null> {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = ({ data }: MessageEvent<string | null>) => resolve(data === null ? null : readable(data));
    worker.postMessage({ kind: 'catalog' } satisfies ToWorker, [port2]);
  });
}

function settled(worker: ServiceWorker): Promise<ServiceWorkerState> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (worker.state !== 'installing') resolve(worker.state);
    };
    worker.addEventListener('statechange', look);
    look();
  });
}
