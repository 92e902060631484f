/** The app's own decoder and engine with nothing around them: benchmarks/browser/decoding.py calls what is here. */
import { openBundle } from '../../../app/src/bundle/open.ts';
import { decodeRecords } from '../../../app/src/bundle/records.ts';
import { Engine } from '../../../app/src/engine/client.ts';

const WEIGHTS = 'weights.bin';

interface Question {
  /** Where the .lens file and its coded weights are. */
  bundle: string;
  coded: string;
  /** Bytes that the weights decode to. */
  size: number;
  runs: number;
  graph: string;
  threads: number;
}

const fetched = async (path: string): Promise<Blob> => (await fetch(path)).blob();

const seconds = (since: number): number => (performance.now() - since) / 1000;

async function median(runs: number, run: () => unknown): Promise<number> {
  const times: number[] = [];
  for (let turn = 0; turn < runs; turn += 1) {
    const start = performance.now();
    await run();
    times.push(seconds(start));
  }
  return times.sort((a, b) => a - b)[runs >> 1]!;
}

/** Seconds of the first read in this page, its checksums included, and of those that follow. */
async function decode({ bundle, coded, size, runs }: Question) {
  const [file, stream] = [await fetched(bundle), new Uint8Array(await (await fetched(coded)).arrayBuffer())];
  const read = async () => (await openBundle(file)).read(WEIGHTS);
  const start = performance.now();
  const content = await read();
  const first = seconds(start);
  if (content.length !== size) throw new Error(`expected ${size} bytes, got ${content.length}`);
  return {
    decoded_bytes: size,
    coded_bytes: stream.length,
    first_read_s: first,
    decode_s: await median(runs, () => decodeRecords(stream, size)),
    decode_and_check_s: await median(runs, read),
  };
}

/** Seconds from a downloaded bundle to an open engine and to its first answer, as the app asks for it. */
async function firstAnswer({ bundle, graph, threads }: Question) {
  const [file, wasm] = [await fetched(bundle), await fetched('ort-wasm-simd-threaded.wasm')];
  const runtime = await wasm.arrayBuffer();
  const glue = new URL('ort-wasm-simd-threaded.mjs', location.href).href;
  const side = 224;
  const pixels = Uint8ClampedArray.from({ length: side * side * 4 }, (_, index) => (index * 7919) % 256);
  const start = performance.now();
  const engine = await Engine.open({ bundle: file, runtime, glue, way: { graph, provider: 'wasm', threads } });
  const opened = seconds(start);
  const look = await engine.pixels(pixels, side, side, { topK: 5 });
  const answered = seconds(start);
  engine.close();
  if (look.answers.length !== 5) throw new Error(`expected 5 answers, got ${look.answers.length}`);
  return { open_s: opened, first_answer_s: answered };
}

Object.assign(globalThis, { decode, firstAnswer, ready: true });
