/**
 * Does in Node what the app does in a browser, for comparison with Python: tests/app/conftest.py bundles this file, its
 * tests write jobs and read what came of them.
 *
 * node run.mjs FOLDER APP WASM: reads FOLDER/jobs.json, writes FOLDER/results.json and the files that jobs name; the
 * runtime comes from APP/node_modules, the app's own wasm from WASM.
 */
import { openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Content } from '../../src/bundle/content.ts';
import { openBundle } from '../../src/bundle/open.ts';
import { RecordDecoder } from '../../src/bundle/records.ts';
import type { Preprocessing } from '../../src/bundle/manifest.ts';
import type { Region, Way } from '../../src/engine/protocol.ts';
import { Recognizer } from '../../src/engine/recognizer.ts';
import { failureOf } from '../../src/failure.ts';
import { readGallery, writeGallery } from '../../src/recognition/gallery-file.ts';
import { Matcher } from '../../src/recognition/matcher.ts';
import { plainRows } from '../../src/recognition/search.ts';
import { simdRows } from '../../src/recognition/search-simd.ts';
import { cut } from '../../src/vision/cut.ts';
import { normalise, normaliseTable } from '../../src/vision/normalise.ts';
import { planOf } from '../../src/vision/plan.ts';
import { PlainResizer } from '../../src/vision/resize.ts';
import { SimdResizer } from '../../src/vision/resize-simd.ts';

interface Picture {
  /** A file of RGBA pixels. */
  pixels: string;
  width: number;
  height: number;
}

type Job =
  | ({ task: 'preprocess'; region: Region | null; preprocessing: Preprocessing; simd: boolean; out: string } & Picture)
  | ({ task: 'look'; bundle: string; way: Way } & Picture)
  | { task: 'bundle'; bundle: string }
  /** The most bytes that all buffers held while a stream of records was decoded, read into one small buffer. */
  | { task: 'memory'; records: string; size: number }
  | { task: 'gallery'; gallery: string; out: string }
  | { task: 'search'; gallery: string; vector: number[]; count: number; simd: boolean };

const [, , folder, app, wasm] = process.argv as [string, string, string, string, string];
const bytes = (name: string) => new Uint8Array(readFileSync(resolve(folder, name)));
const file = (name: string) => new Blob([bytes(name)]);
const simdResizer = await SimdResizer.of(new Uint8Array(readFileSync(resolve(wasm, 'resize.wasm'))));
const search = await WebAssembly.compile(new Uint8Array(readFileSync(resolve(wasm, 'search.wasm'))));
const runtime = resolve(app, 'node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded');

function picture({ pixels }: Picture): Uint8ClampedArray {
  return new Uint8ClampedArray(bytes(pixels).buffer);
}

const recognizers = new Map<string, Recognizer>();

/** Each bundle and way is opened once. */
async function opened(bundle: string, way: Way): Promise<Recognizer> {
  const key = JSON.stringify([bundle, way]);
  const kernels = { resizer: simdResizer, makeRows: await simdRows(search) };
  const start = bytes(`${runtime}.wasm`).buffer;
  const found =
    recognizers.get(key) ?? (await Recognizer.open(file(bundle), start, `file://${runtime}.mjs`, way, kernels));
  recognizers.set(key, found);
  return found;
}

function buffersWhileDecoding({ records, size }: { records: string; size: number }): number {
  const before = process.memoryUsage().arrayBuffers;
  const blob = new Content(size);
  const decoder = new RecordDecoder(blob);
  const buffer = new Uint8Array(2 ** 19);
  const file = openSync(resolve(folder, records), 'r');
  let most = 0;
  for (let length = readSync(file, buffer); length > 0; length = readSync(file, buffer)) {
    decoder.push(buffer.subarray(0, length));
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }
  decoder.end();
  if (blob.length !== size) throw new Error(`expected ${size} bytes, got ${blob.length}`);
  return most;
}

async function run(job: Job): Promise<unknown> {
  switch (job.task) {
    case 'preprocess': {
      const plan = planOf(job, job.region, job.preprocessing);
      const resizer = job.simd ? simdResizer : new PlainResizer();
      const [height, width] = job.preprocessing.crop;
      const input = new Float32Array(3 * height * width);
      const resized = resizer.resize(cut(picture(job), job.width, plan.source), plan);
      normalise(resized, width, height, normaliseTable(job.preprocessing, 'float32'), input);
      writeFileSync(resolve(folder, job.out), new Uint8Array(input.buffer));
      return null;
    }
    case 'look': {
      const recognizer = await opened(job.bundle, job.way);
      const plan = recognizer.plan(job, null);
      const wants = { topK: 5, logits: true, embedding: true };
      const look = await recognizer.look(cut(picture(job), job.width, plan.source), plan, wants, 0);
      return { ...look, logits: [...look.logits!], embedding: look.embedding && [...look.embedding] };
    }
    case 'bundle': {
      const bundle = await openBundle(file(job.bundle));
      for (const path of Object.keys(bundle.manifest.members)) await bundle.read(path);
      return bundle.manifest;
    }
    case 'memory':
      return buffersWhileDecoding(job);
    case 'gallery': {
      const gallery = await readGallery(bytes(job.gallery).buffer);
      writeFileSync(resolve(folder, job.out), await writeGallery(gallery));
      return { ...gallery, vectors: [...gallery.vectors] };
    }
    case 'search': {
      const gallery = await readGallery(bytes(job.gallery).buffer);
      const matcher = new Matcher(gallery, job.simd ? await simdRows(search) : plainRows);
      return matcher.search(Float32Array.from(job.vector), job.count);
    }
  }
}

const results: unknown[] = [];
for (const job of JSON.parse(readFileSync(resolve(folder, 'jobs.json'), 'utf8')) as Job[]) {
  try {
    results.push({ ok: await run(job) });
  } catch (thrown) {
    results.push({ failure: failureOf(thrown) });
  }
}
writeFileSync(resolve(folder, 'results.json'), JSON.stringify(results));
