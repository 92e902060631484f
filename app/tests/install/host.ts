/** A real web server whose habits can be chosen, as those of hosts differ. */
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

export type Habit =
  /** Answers Range requests with 206. */
  | 'ranges'
  /** Ignores them. */
  | 'whole'
  /** Ignores them, and compresses. */
  | 'compressed'
  /** Compresses parts, and names the places in what is compressed. */
  | 'compressed ranges';

export class Host {
  habit: Habit = 'ranges';
  /** Path -> content. */
  readonly files = new Map<string, Uint8Array>();
  /** Range headers of the requests so far, "" without. */
  requests: string[] = [];
  /** Statuses that are answered first. */
  troubles: number[] = [];
  /** The connection is cut after so many more bytes. */
  patience = Infinity;
  readonly #server = createServer((request, response) => this.#answer(request, response));

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/pre/fix/`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const range = request.headers.range ?? '';
    this.requests.push(range);
    const trouble = this.troubles.shift();
    const content = this.files.get((request.url ?? '').replace('/pre/fix/', ''));
    if (trouble !== undefined || !content) return void response.writeHead(trouble ?? 404).end();
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
    if (first === undefined || this.habit === 'whole' || this.habit === 'compressed') {
      const packed = this.habit.startsWith('compressed');
      return this.#send(
        response,
        packed ? gzipSync(content) : content,
        200,
        packed ? { 'Content-Encoding': 'gzip' } : {},
      );
    }
    const start = Number(first);
    const end = Math.min(Number(last) + 1, content.length);
    if (start >= content.length) return void response.writeHead(416).end();
    const part = content.subarray(start, end);
    const place = { 'Content-Range': `bytes ${start}-${end - 1}/${content.length}` };
    if (this.habit === 'ranges') return this.#send(response, part, 206, place);
    this.#send(response, gzipSync(part), 206, { ...place, 'Content-Encoding': 'gzip' });
  }

  #send(response: ServerResponse, body: Uint8Array, status: number, headers: Record<string, string>): void {
    response.writeHead(status, { ...headers, 'Content-Length': body.length });
    if (body.length <= this.patience) {
      this.patience -= body.length;
      response.end(body);
    } else {
      response.write(body.subarray(0, this.patience), () => setTimeout(() => response.destroy(), 20));
    }
  }
}
