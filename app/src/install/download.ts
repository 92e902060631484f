/** The missing parts of one file from a host, whatever the host makes of Range requests. */
import type { SiteFile } from './catalog.ts';
import { InstallError } from './install-error.ts';
import type { Part } from './part-store.ts';

/** Bytes as they come, for progress; then the part that they complete, to be stored. */
export type Arrival = { bytes: number } | { part: number; content: Uint8Array<ArrayBuffer> };

/** Waits before a host that is busy is asked again. */
const PATIENCE_MS = [500, 2000, 6000];

/**
 * Ask for one part after the other. A host that answers with the whole file is read on from there; so is one whose
 * parts cannot be trusted (it compresses them, or counts them otherwise), after one request without Range.
 *
 * @param wanted the missing parts, in order.
 * @throws InstallError "offline", "host" or "stopped".
 */
export async function* download(
  send: typeof fetch,
  url: URL,
  file: SiteFile,
  wanted: Part[],
  signal?: AbortSignal,
): AsyncGenerator<Arrival> {
  for (const [place, part] of wanted.entries()) {
    const range = { Range: `bytes=${part.start}-${part.end - 1}` };
    const response = await ask(send, url, { headers: range, signal });
    if (response.status === 206 && isRange(response, part, file)) {
      yield* split(response, [{ ...part, start: 0, end: part.end - part.start }], url, signal);
      continue;
    }
    const rest = wanted.slice(place);
    if (response.status === 200) return yield* split(response, rest, url, signal);
    await response.body?.cancel();
    return yield* split(await ask(send, url, { signal }), rest, url, signal);
  }
}

/** Whether a 206 holds that part as it lies on the host. */
function isRange(response: Response, part: Part, file: SiteFile): boolean {
  const coding = response.headers.get('Content-Encoding') ?? 'identity';
  return (
    coding === 'identity' &&
    response.headers.get('Content-Range') === `bytes ${part.start}-${part.end - 1}/${file.size}`
  );
}

/** Cut a body into parts; what lies between them is thrown away. */
async function* split(
  response: Response,
  parts: Part[],
  url: URL,
  signal: AbortSignal | undefined,
): AsyncGenerator<Arrival> {
  const queue = parts.map((part) => ({ ...part, content: new Uint8Array(part.end - part.start), filled: 0 }));
  let offset = 0;
  for await (const chunk of chunks(response, signal)) {
    for (let part = queue[0]; part && offset + chunk.length > part.start + part.filled; part = queue[0]) {
      const from = part.start + part.filled - offset;
      const piece = chunk.subarray(from, Math.min(chunk.length, part.end - offset));
      part.content.set(piece, part.filled);
      part.filled += piece.length;
      yield { bytes: piece.length };
      if (part.filled < part.content.length) break;
      queue.shift();
      yield { part: part.index, content: part.content };
    }
    offset += chunk.length;
    if (!queue.length) break;
  }
  if (queue.length)
    throw new InstallError('host', `${url}: ended after ${offset} bytes; check for an update, or try again`);
}

async function* chunks(response: Response, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } catch (error) {
    throw lost(error, signal);
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** A response that can be used, after some patience with a host that is busy. */
async function ask(
  send: typeof fetch,
  url: URL,
  { headers = {}, signal }: { headers?: HeadersInit; signal: AbortSignal | undefined },
): Promise<Response> {
  for (let attempt = 0; ; attempt++) {
    // No copy in the HTTP cache: it would take the same room once more.
    const options: RequestInit = { headers, cache: 'no-store', signal: signal ?? null };
    const response = await send(url, options).catch((error: unknown) => {
      throw lost(error, signal);
    });
    if (response.ok) return response;
    await response.body?.cancel();
    const busy = response.status >= 500 || response.status === 429;
    const wait = PATIENCE_MS[attempt];
    if (!busy || wait === undefined) {
      // 404 and 416 (the host's file is shorter than the catalog says) come of a site that was changed.
      throw new InstallError('host', `${url}: the host answers ${response.status}; check for an update, or try later`);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

function lost(error: unknown, signal: AbortSignal | undefined): InstallError {
  if (signal?.aborted) return new InstallError('stopped', 'the install was stopped; it goes on when asked again');
  return new InstallError('offline', `the network was lost (${String(error)}); the install goes on from there`);
}
