import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Engine, type Port, type Source } from '../../src/engine/client.ts';
import type { Look, Reply, Request } from '../../src/engine/protocol.ts';

const SOURCE: Source = {
  bundle: new Blob(['x']),
  runtime: new ArrayBuffer(1),
  glue: 'https://example.org/glue.mjs',
  way: { graph: 'float', provider: 'wasm', threads: 1 },
};

/** The other end of a worker: it notes what is asked, the test says what comes back. */
class Channel implements Port {
  onmessage: Port['onmessage'] = null;
  onmessageerror: Port['onmessageerror'] = null;
  onerror: Port['onerror'] = null;
  readonly asked: Request[] = [];
  terminated = false;

  postMessage(message: Request): void {
    this.asked.push(message);
  }

  terminate(): void {
    this.terminated = true;
  }

  reply(reply: Reply): void {
    this.onmessage!({ data: reply } as MessageEvent<Reply>);
  }

  die(message: string): void {
    this.onerror!({ message, preventDefault() {} } as ErrorEvent);
  }

  looks(): Extract<Request, { kind: 'look' }>[] {
    return this.asked.filter((request) => request.kind === 'look');
  }
}

class Frame {
  closed = false;
  close(): void {
    this.closed = true;
  }
  get bitmap(): ImageBitmap {
    return this as unknown as ImageBitmap;
  }
}

const LOOK = { answers: [], unknown: false } as unknown as Look;
const WANTS = { topK: 1 };

async function opened(): Promise<{ engine: Engine; channel: Channel }> {
  const channel = new Channel();
  const opening = Engine.open(SOURCE, () => channel);
  const { id } = channel.asked[0]!;
  channel.reply({ kind: 'opened', id, dimensions: 256, fingerprint: 'f', loadMs: 3 } as Reply);
  return { engine: await opening, channel };
}

/** Lets promises that are settled already run on. */
const settled = () => Promise.resolve().then(() => undefined);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('opening says what was opened', async () => {
  const { engine, channel } = await opened();
  expect(engine.opened).toEqual({ dimensions: 256, fingerprint: 'f', loadMs: 3 });
  expect(channel.asked[0]).toMatchObject({ kind: 'open', ...SOURCE });
});

test('a bundle that is refused rejects with its reason, and the worker goes', async () => {
  const channel = new Channel();
  const opening = Engine.open(SOURCE, () => channel);
  channel.reply({ kind: 'failed', id: channel.asked[0]!.id, error: { code: 'newer', detail: 'update' } });
  await expect(opening).rejects.toMatchObject({ code: 'newer', message: 'update' });
  expect(channel.terminated).toBe(true);
});

describe('looking', () => {
  test('one frame is worked on, of the rest only the newest waits', async () => {
    const { engine, channel } = await opened();
    const frames = [new Frame(), new Frame(), new Frame(), new Frame()];
    const looks = frames.map((frame) => engine.look(frame.bitmap, null, WANTS));
    expect(channel.looks()).toHaveLength(1);
    expect(await looks[1]).toBeNull();
    expect(await looks[2]).toBeNull();
    expect(frames.map((frame) => frame.closed)).toEqual([false, true, true, false]);
    channel.reply({ kind: 'looked', id: channel.looks()[0]!.id, look: LOOK });
    expect(await looks[0]).toBe(LOOK);
    await settled();
    expect(channel.looks()[1]!.frame).toBe(frames[3]);
    channel.reply({ kind: 'looked', id: channel.looks()[1]!.id, look: LOOK });
    expect(await looks[3]).toBe(LOOK);
  });

  test('a frame that fails does not end the engine', async () => {
    const { engine, channel } = await opened();
    const first = engine.look(new Frame().bitmap, null, WANTS);
    channel.reply({ kind: 'failed', id: channel.looks()[0]!.id, error: { code: 'frame', detail: 'empty' } });
    await expect(first).rejects.toMatchObject({ code: 'frame' });
    await settled();
    const second = engine.look(new Frame().bitmap, null, WANTS);
    channel.reply({ kind: 'looked', id: channel.looks()[1]!.id, look: LOOK });
    expect(await second).toBe(LOOK);
  });

  test('a frame that cannot be handed over is closed', async () => {
    const { engine, channel } = await opened();
    channel.postMessage = () => {
      throw new DOMException('detached', 'DataCloneError');
    };
    const frame = new Frame();
    await expect(engine.look(frame.bitmap, null, WANTS)).rejects.toMatchObject({ code: 'frame' });
    expect(frame.closed).toBe(true);
  });
});

describe('a worker that is gone', () => {
  test('rejects what is pending and what comes later, and closes every frame', async () => {
    const { engine, channel } = await opened();
    const frames = [new Frame(), new Frame(), new Frame()];
    const looks = frames.slice(0, 2).map((frame) => engine.look(frame.bitmap, null, WANTS));
    channel.die('Uncaught RangeError: Array buffer allocation failed');
    for (const look of looks) await expect(look).rejects.toMatchObject({ code: 'memory' });
    await expect(engine.look(frames[2]!.bitmap, null, WANTS)).rejects.toMatchObject({ code: 'memory' });
    await expect(engine.time(3)).rejects.toMatchObject({ code: 'memory' });
    expect(frames.map((frame) => frame.closed)).toEqual([true, true, true]);
    expect(channel.terminated).toBe(true);
  });

  test('rejects the opening when its script does not load', async () => {
    const channel = new Channel();
    const opening = Engine.open(SOURCE, () => channel);
    channel.die('');
    await expect(opening).rejects.toMatchObject({ code: 'runtime', message: 'the engine worker did not start' });
  });

  test('is noticed by its silence', async () => {
    const { engine, channel } = await opened();
    const timing = engine.time(1);
    const rejected = expect(timing).rejects.toMatchObject({ code: 'memory' });
    await vi.advanceTimersByTimeAsync(61_000);
    await rejected;
    expect(channel.terminated).toBe(true);
  });

  test('is not one that answers slowly', async () => {
    const { engine, channel } = await opened();
    const [first, second] = [engine.time(1), engine.time(1)];
    await vi.advanceTimersByTimeAsync(50_000);
    channel.reply({ kind: 'timed', id: channel.asked[1]!.id, milliseconds: [50_000] });
    await vi.advanceTimersByTimeAsync(50_000);
    channel.reply({ kind: 'timed', id: channel.asked[2]!.id, milliseconds: [50_000] });
    expect([await first, await second]).toEqual([[50_000], [50_000]]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('closing rejects what is pending, twice does nothing', async () => {
  const { engine, channel } = await opened();
  const timing = engine.time(1);
  engine.close();
  engine.close();
  await expect(timing).rejects.toThrow('closed');
  expect(channel.terminated).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});

test('a gallery of another bundle is refused', async () => {
  const { engine, channel } = await opened();
  const setting = engine.setGallery(null);
  channel.reply({ kind: 'failed', id: channel.asked[1]!.id, error: { code: 'gallery', detail: 'another model' } });
  await expect(setting).rejects.toMatchObject({ code: 'gallery' });
});

test('a reply that nobody waits for is left alone', async () => {
  const { channel } = await opened();
  channel.reply({ kind: 'set', id: 99 });
});
