/**
 * The service worker: keeps the app's own files, answers every request of the page, and lets nothing else out.
 *
 * It holds the version of the site, so that any change of the site is a new service worker, which waits until the
 * user agrees. After an install the only request is the browser's own look at this file. The large files (bundles,
 * galleries, runtimes) are the installer's; their requests, and no others, go to the host.
 */
import { PrecacheController } from 'workbox-precaching';
import type { PrecacheEntry } from 'workbox-precaching';
import HEADERS from '../../src/pocketlens/server/headers.json';
import { everything } from './install/catalog.ts';
import { confineServiceWorker } from './install/confine.ts';
import type { ShellProgress, ToWorker } from './install/messages.ts';
import { readable } from './install/read-catalog.ts';

declare const self: ServiceWorkerGlobalScope & { __WB_MANIFEST: (PrecacheEntry | string)[] };

/** `pocketlens app` puts the catalog's version here. */
const SITE_VERSION = '__SITE_VERSION__';

/** In all languages of the app: its texts are gone as well. */
const WIPED = [
  'The browser removed the files of this app to make room. Connect to the network once and open it again.',
  'El navegador borró los archivos de la aplicación para hacer sitio. Conéctate una vez a la red y vuelve a abrirla.',
  'Der Browser hat die Dateien der App gelöscht, um Platz zu schaffen. Bitte einmal ins Netz gehen und sie neu öffnen.',
  'Le navigateur a supprimé les fichiers de l’application pour faire de la place. Connectez-vous une fois et rouvrez-la.',
].join('\n\n');

confineServiceWorker(self);

const scope = new URL(self.registration.scope);
const entries = [...self.__WB_MANIFEST, { url: 'catalog.json', revision: SITE_VERSION }];
let done = 0;
const shell = new PrecacheController({
  plugins: [{ handlerDidComplete: () => tell({ kind: 'shell', done: ++done, total: entries.length }) }],
});
shell.addToCacheList(entries);

self.addEventListener('install', (event) => void shell.install(event));

self.addEventListener('activate', (event) => {
  void shell.activate(event);
  // The page of a first visit came before there was a service worker.
  event.waitUntil(self.clients.claim());
});

self.addEventListener('message', (event) => {
  const message = event.data as ToWorker;
  if (message.kind === 'activate') event.waitUntil(self.skipWaiting());
  if (message.kind === 'catalog') event.waitUntil(sendCatalog(event.ports[0]));
});

self.addEventListener('fetch', (event) => event.respondWith(answer(event.request)));

async function answer(request: Request): Promise<Response> {
  const url = new URL(request.url);
  if (url.origin !== scope.origin || request.method !== 'GET') return Response.error();
  const inside = url.pathname.startsWith(scope.pathname);
  const path = inside ? url.pathname.slice(scope.pathname.length) : null;
  if (request.mode === 'navigate') {
    return path === '' || path === 'index.html' ? kept('index.html') : Response.redirect(scope.href);
  }
  // A query could carry what is seen to the host, and no file of the site has one.
  if (path === null || url.search) return Response.error();
  if (await isLargeFile(path)) {
    const range = request.headers.get('Range');
    return secured(await fetch(url, { cache: 'no-store', headers: range === null ? {} : { Range: range } }));
  }
  return kept(path || 'index.html');
}

/** A file of the app: from the cache, and from nowhere else as long as the cache is whole. */
async function kept(path: string): Promise<Response> {
  const response = await shell.matchPrecache(path);
  if (response) return secured(response);
  const lost = await wiped();
  if (!lost.length) return secured(plain('Not a file of this app.', 404));
  await Promise.all(lost.map(repair));
  // Where the host has another version by now, its page asks for files that this one never had.
  const fromHost = (): Promise<Response> => fetch(new URL(path, scope), { cache: 'no-store' });
  return secured((await shell.matchPrecache(path)) ?? (await fromHost().catch(() => plain(WIPED, 503))));
}

/** Files of the app that the browser removed from its cache to make room. */
async function wiped(): Promise<string[]> {
  const urls = shell.getCachedURLs();
  const found = await Promise.all(urls.map((url) => shell.matchPrecache(url)));
  return urls.filter((_, place) => !found[place]);
}

async function repair(url: string): Promise<void> {
  const response = await fetch(url, { cache: 'no-store' }).catch(() => null);
  const key = shell.getCacheKeyForURL(url);
  if (key && response?.ok) await (await caches.open(shell.strategy.cacheName)).put(key, response);
}

function plain(text: string, status: number): Response {
  return new Response(text, { status, headers: { 'Content-Type': 'text/plain; charset=utf-8' } });
}

/** A response with the headers that isolate and confine whatever document or worker it becomes. */
function secured(response: Response): Response {
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

/** Whether a catalog names it: of this version, or of one that waits and whose files are fetched before it takes over. */
async function isLargeFile(path: string): Promise<boolean> {
  const cache = await caches.open(shell.strategy.cacheName);
  const stored = await cache.matchAll(new URL('catalog.json', scope), { ignoreSearch: true });
  const catalogs = await Promise.all(stored.map(async (response) => readable(await response.text())));
  return catalogs.some((catalog) => catalog !== null && everything(catalog).some((file) => file.path === path));
}

async function sendCatalog(port: MessagePort | undefined): Promise<void> {
  const response = await shell.matchPrecache('catalog.json');
  port?.postMessage(response ? await response.text() : null);
}

async function tell(progress: ShellProgress): Promise<void> {
  for (const client of await self.clients.matchAll({ includeUncontrolled: true })) client.postMessage(progress);
}
