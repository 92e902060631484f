/**
 * What a content-security policy cannot close.
 *
 * The policy (src/pocketlens/server/headers.json) stops fetch, sockets, beacons, pictures and forms on every browser.
 * Left are WebRTC, other windows and navigation, which no browser's policy governs, and a service worker whose own
 * script came from a host that sends no headers. This is the second line, against our own mistakes and those of what
 * we build on; code that is bent on it finds a fresh realm in an iframe. docs/app.md says what remains.
 */

const SOCKETS = ['WebSocket', 'WebSocketStream', 'WebTransport', 'EventSource'];
const PEERS = ['RTCPeerConnection', 'webkitRTCPeerConnection'];

/** Never sent anywhere. */
const LOCAL = ['blob:', 'data:', 'about:'];

/** What of the Navigation API is used; TypeScript's DOM does not know it yet. */
interface Navigating {
  addEventListener(
    type: 'navigate',
    refuse: (event: Event & { destination: { url: string } }) => void,
    capture: true,
  ): void;
}

/** Take from the page what could carry a frame to another origin. Call it before anything else. */
export function confinePage(page: Window & typeof globalThis = window): void {
  const leaves = (url: string): boolean => isForeign(url, page.location);
  take(page, PEERS);
  const open = page.open.bind(page);
  page.open = (url = '', target?: string, features?: string) =>
    leaves(String(url)) ? null : open(url, target, features);
  // Chromium 102, Firefox 147 and Safari 26.2 let a page refuse its own navigation; before those nothing does.
  (page as { navigation?: Navigating }).navigation?.addEventListener(
    'navigate',
    (event) => {
      if (leaves(event.destination.url)) event.preventDefault();
    },
    true,
  );
  // A link that opens another window is no navigation of this one.
  page.addEventListener(
    'click',
    (event) => {
      const link = event.composedPath().find((node) => node instanceof page.HTMLAnchorElement);
      if (link instanceof page.HTMLAnchorElement && leaves(link.href)) event.preventDefault();
    },
    true,
  );
  const click = page.HTMLElement.prototype.click;
  page.HTMLAnchorElement.prototype.click = function (this: HTMLAnchorElement) {
    if (!leaves(this.href)) click.call(this); // one that is in no document sends its click to nobody above
  };
}

/** Take from the service worker all but requests to its own origin. */
export function confineServiceWorker(worker: ServiceWorkerGlobalScope): void {
  take(worker, SOCKETS);
  const send = worker.fetch.bind(worker);
  worker.fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (!isForeign(url, worker.location)) return send(input, init);
    throw new TypeError(
      `expected a request to ${worker.location.origin}, got one to elsewhere; nothing leaves this app`,
    );
  };
}

function isForeign(url: string, location: Location | WorkerLocation): boolean {
  const { origin, protocol } = new URL(url, location.href);
  return origin !== location.origin && !LOCAL.includes(protocol);
}

function take(scope: object, names: string[]): void {
  for (const name of names) Reflect.deleteProperty(scope, name);
}
