/** The engine worker: protocol.ts in, protocol.ts out, one request after the other. */
import { FailureError, failureOf } from '../failure.ts';
import { loadRows } from '../recognition/search-simd.ts';
import { cut } from '../vision/cut.ts';
import { Grabber, sizeOf } from '../vision/grab.ts';
import { loadResizer } from '../vision/load-resizer.ts';
import type { Look, Reply, Request } from './protocol.ts';
import { Recognizer } from './recognizer.ts';

type Called<K extends Request['kind']> = Extract<Request, { kind: K }>;

const grabber = new Grabber();
let recognizer: Recognizer | null = null;
/** Ends when the last request is answered, so that replies come in the order of requests. */
let turn: Promise<void> = Promise.resolve();

addEventListener('message', ({ data }: MessageEvent<Request>) => {
  turn = turn.then(async () => postMessage(await answer(data)));
});

async function answer(request: Request): Promise<Reply> {
  try {
    switch (request.kind) {
      case 'open':
        return await open(request);
      case 'look':
        return { kind: 'looked', id: request.id, look: await look(request) };
      case 'pixels':
        return { kind: 'looked', id: request.id, look: await lookAtPixels(request) };
      case 'gallery':
        opened().setGallery(request.gallery);
        return { kind: 'set', id: request.id };
      case 'time':
        return { kind: 'timed', id: request.id, milliseconds: await opened().time(request.runs) };
    }
  } catch (thrown) {
    return { kind: 'failed', id: request.id, error: failureOf(thrown) };
  }
}

async function open({ id, bundle, runtime, glue, way }: Called<'open'>): Promise<Reply> {
  const start = performance.now();
  const kernels = { resizer: await loadResizer(), makeRows: await loadRows() };
  recognizer = await Recognizer.open(bundle, runtime, glue, way, kernels);
  const { spec, confidence, fingerprint } = recognizer.manifest;
  const { dimensions } = recognizer;
  return { kind: 'opened', id, spec, confidence, dimensions, fingerprint, loadMs: performance.now() - start };
}

async function look({ frame, region, wants }: Called<'look'>): Promise<Look> {
  try {
    const start = performance.now();
    const plan = opened().plan(sizeOf(frame), region);
    const pixels = await grabber.grab(frame, plan.source);
    return await opened().look(pixels, plan, wants, performance.now() - start);
  } finally {
    frame.close();
  }
}

async function lookAtPixels({ pixels, width, height, wants }: Called<'pixels'>): Promise<Look> {
  if (pixels.length !== width * height * 4) {
    throw new FailureError('frame', `expected ${width} x ${height} RGBA pixels, got ${pixels.length} bytes`);
  }
  const plan = opened().plan({ width, height }, null);
  const start = performance.now();
  const part = cut(pixels, width, plan.source);
  return opened().look(part, plan, wants, performance.now() - start);
}

function opened(): Recognizer {
  if (recognizer) return recognizer;
  throw new FailureError('runtime', 'expected an open bundle, got a request before one; open it first');
}
