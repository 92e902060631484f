/** From a page to one that the service worker guards. */
import type { ShellProgress } from './messages.ts';

/** Whether the page is guarded, and by what it could not be. The camera may open only where `controlled`. */
export interface Secured {
  /** The service worker answers all requests of this page. */
  controlled: boolean;
  /** Threads of WebAssembly can be used. */
  isolated: boolean;
  /**
   * - insecure: neither https nor localhost
   * - unsupported: the browser has no service workers here (private windows of some)
   * - failed: the worker could not be installed, mostly because the network went; another start goes on
   * - bypassed: the browser was told to go around it (developer tools)
   */
  problem: 'insecure' | 'unsupported' | 'failed' | 'bypassed' | null;
  /** English, for logs and the monitor. */
  detail: string;
}

/** In sessionStorage: the page reloaded itself, and has not been guarded since. It must not do so again. */
const RELOADED = 'pocketlens reloaded';

/** A page that is claimed hears of it within milliseconds of the activation. */
const CLAIM_MS = 2000;

/**
 * Register the service worker of this folder and wait until it controls the page. Where the host sends no headers of
 * isolation the service worker does, which takes one reload; then this never returns.
 *
 * @param onShell counts the app's own files while the worker stores them at a first visit.
 */
export async function secured(onShell?: (done: number, total: number) => void): Promise<Secured> {
  if (!isSecureContext) return unguarded('insecure', 'expected https or localhost, got an insecure page');
  const { serviceWorker } = navigator;
  if (!serviceWorker) return unguarded('unsupported', 'this browser has no service workers here');
  // Controlled from the start means that this document came through the service worker, with its headers.
  if (isControlled()) return guarded();

  const onMessage = ({ data }: MessageEvent<ShellProgress>): void => {
    if (data.kind === 'shell') onShell?.(data.done, data.total);
  };
  serviceWorker.addEventListener('message', onMessage);
  serviceWorker.startMessages();
  try {
    await activated(await serviceWorker.register(scriptUrl(), { scope: './', updateViaCache: 'none' }));
  } catch (error) {
    return unguarded('failed', `the service worker could not be installed (${String(error)})`);
  } finally {
    serviceWorker.removeEventListener('message', onMessage);
  }
  await claimed();
  if (isControlled() && crossOriginIsolated) return guarded();
  if (sessionStorage.getItem(RELOADED) === null) {
    sessionStorage.setItem(RELOADED, 'once');
    location.reload();
    return new Promise(() => undefined);
  }
  return isControlled() ? guarded() : unguarded('bypassed', 'the browser goes around the service worker');
}

function guarded(): Secured {
  sessionStorage.removeItem(RELOADED);
  // Another version took over, by this tab or another one: the files of this page's version are gone.
  navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true });
  return { controlled: true, isolated: crossOriginIsolated, problem: null, detail: '' };
}

function unguarded(problem: Secured['problem'], detail: string): Secured {
  return { controlled: false, isolated: globalThis.crossOriginIsolated ?? false, problem, detail };
}

function scriptUrl(): string {
  return new URL('sw.js', document.baseURI).href;
}

/** By our own worker: one of a folder above may have been there first. */
function isControlled(): boolean {
  return navigator.serviceWorker.controller?.scriptURL === scriptUrl();
}

function activated(registration: ServiceWorkerRegistration): Promise<void> {
  const worker = registration.active ?? registration.waiting ?? registration.installing;
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (worker?.state === 'activated') resolve();
      if (worker?.state === 'redundant') reject(new Error('its files could not be stored'));
    };
    worker?.addEventListener('statechange', look);
    look();
  });
}

async function claimed(): Promise<void> {
  if (isControlled()) return;
  await Promise.race([
    new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true })),
    new Promise((resolve) => setTimeout(resolve, CLAIM_MS)),
  ]);
}
