/** From manifest.json, of unknown origin, to a Manifest. docs/bundle.md says what is checked. */
import { FailureError } from '../failure.ts';
import { sha256 } from './digest.ts';
import { Fields } from './fields.ts';
import type { Confidence, Embedding, GraphEntry, Manifest, Member, Preprocessing, Spec } from './manifest.ts';
import { GRAPH_NAME, isSafePath } from './paths.ts';

export const MANIFEST = 'manifest.json';

/** Schema 2 added `confidence` and `embedding`. */
const SCHEMA_VERSION = 2;

const MAX_MEMBER_BYTES = 2 * 1024 ** 3;
const LARGEST_SIDE = 8192;
const LARGEST_CROP = 4096;
const MAX_FEATURES = 65536;
const MAX_DIMENSIONS = 256;

/** Runtime options a bundle may ask for; others could make a runtime touch files. */
const SESSION_OPTIONS = new Set([
  'session.disable_quant_qdq',
  'session.enable_quant_qdq_cleanup',
  'session.qdqisint8allowed',
  'session.set_denormal_as_zero',
  'session.x64quantprecision',
  'mlas.enable_gemm_fastmath_arm64_bfloat16',
]);

/** Codec -> what it adds to a member's name inside the zip. */
const SUFFIXES: Record<Member['codec'], string> = { none: '', zstd: '.zst', tensors: '.plt' };

/** The name in the zip of the member that is called `path`. */
export function storedName(path: string, member: Member): string {
  return path + SUFFIXES[member.codec];
}

/** Bytes of a whitening as a member. */
export function whiteningBytes({ features, dimensions }: Embedding): number {
  return 4 * features + 4 * dimensions + features * dimensions;
}

/**
 * Check parsed JSON and give it its type.
 *
 * @throws FailureError: "newer" for a later schema, "unsupported" for a codec or interpolation of a later writer,
 * else "corrupt", naming the field.
 */
export async function readManifest(data: unknown): Promise<Manifest> {
  const fields = new Fields(data);
  const version = fields.integer('schema_version', 1, 10 ** 6);
  if (version > SCHEMA_VERSION) {
    const reads = `this app reads ${SCHEMA_VERSION}`;
    throw new FailureError('newer', `written by a newer pocketlens (schema ${version}, ${reads}); update the app`);
  }
  const embedding = version < 2 ? null : fields.optionalChild('embedding');
  const manifest: Manifest = {
    schema_version: version,
    created_with: fields.text('created_with'),
    created: fields.date('created'),
    spec: readSpec(fields.child('spec')),
    graphs: fields.children('graphs').map(readGraph),
    preferred: fields.text('preferred'),
    // Schema 1 has neither field; there they are refused as any unknown one.
    confidence: version < 2 ? { temperature: 1, unknown_below: null } : readConfidence(fields.child('confidence')),
    embedding: embedding && readEmbedding(embedding),
    // Not by assignment: "__proto__" is a plain path.
    members: Object.fromEntries(fields.childrenByName('members').map(([path, member]) => [path, readMember(member)])),
    fingerprint: fields.sha256('fingerprint'),
  };
  for (const free of ['recipe', 'baseline', 'target']) fields.mapping(free);
  fields.done();
  checkWhole(manifest);
  const fingerprint = await fingerprintOf(manifest.members);
  if (fingerprint !== manifest.fingerprint) {
    throw new FailureError('corrupt', `fingerprint: the members give ${fingerprint}, got ${manifest.fingerprint}`);
  }
  return manifest;
}

/** SHA-256 of a listing as `sha256sum` prints it, sorted by path. */
async function fingerprintOf(members: Record<string, Member>): Promise<string> {
  const paths = Object.keys(members).sort();
  return sha256(new TextEncoder().encode(paths.map((path) => `${members[path]!.sha256}  ${path}\n`).join('')));
}

function checkWhole({ graphs, preferred, members, embedding }: Manifest): void {
  const names = graphs.map(({ name }) => name);
  const refuse = (detail: string): never => {
    throw new FailureError('corrupt', detail);
  };
  if (names.length === 0 || new Set(names).size !== names.length) {
    refuse(`graphs: expected at least one, with names that differ, got ${names.join(', ') || 'none'}`);
  }
  if (!names.includes(preferred)) refuse(`preferred: expected one of ${names.join(', ')}, got ${preferred}`);
  const paths = Object.keys(members);
  const unsafe = paths.find((path) => !isSafePath(path));
  if (unsafe !== undefined) refuse(`members: ${JSON.stringify(unsafe.slice(0, 80))} is no plain relative path`);
  // Without case: on many systems `A.bin` and `a.bin` are one file.
  const stored = [MANIFEST, ...paths.map((path) => storedName(path, members[path]!).toLowerCase())];
  if (new Set(stored).size !== stored.length) refuse('members: two, or one and the manifest, share a name in the zip');
  for (const { name, graph, weights } of graphs) {
    for (const path of [graph, weights]) {
      if (path !== null && !Object.hasOwn(members, path)) refuse(`graph ${name} needs ${path}, which is no member`);
    }
  }
  if (!embedding) return;
  const { whitening } = embedding;
  if (!Object.hasOwn(members, whitening)) refuse(`embedding needs ${whitening}, which is no member`);
  const size = members[whitening]!.size;
  if (size !== whiteningBytes(embedding)) {
    refuse(`embedding: its whitening takes ${whiteningBytes(embedding)} bytes, ${whitening} has ${size}`);
  }
}

function readSpec(fields: Fields): Spec {
  const [channels, height, width] = fields.integers('input_shape', 3, 1, LARGEST_SIDE) as [number, number, number];
  const spec: Spec = {
    name: fields.text('name'),
    task: fields.text('task'),
    input_shape: [channels, height, width],
    preprocessing: readPreprocessing(fields.child('preprocessing')),
    class_ids: fields.texts('class_ids'),
    labels: fields.texts('labels'),
  };
  fields.done();
  const [cropHeight, cropWidth] = spec.preprocessing.crop;
  if (cropHeight !== height || cropWidth !== width) {
    throw fields.refusal(`the crop is the model's input, ${height} x ${width}, got ${cropHeight} x ${cropWidth}`);
  }
  if (spec.class_ids.length && spec.labels.length && spec.class_ids.length !== spec.labels.length) {
    throw fields.refusal(
      `class_ids and labels must be as many, got ${spec.class_ids.length} and ${spec.labels.length}`,
    );
  }
  return spec;
}

function readPreprocessing(fields: Fields): Preprocessing {
  const crop = fields.integers('crop', 2, 1, LARGEST_CROP) as [number, number];
  const preprocessing: Preprocessing = {
    resize: fields.optionalInteger('resize', 1, LARGEST_SIDE),
    crop,
    interpolation: fields.choice('interpolation', ['nearest', 'bilinear', 'bicubic']),
    mean: fields.numbers('mean', 3) as [number, number, number],
    std: fields.numbers('std', 3) as [number, number, number],
  };
  fields.done();
  if (preprocessing.resize !== null && preprocessing.resize < Math.max(...crop)) {
    throw fields.refusal(`resize must be at least the crop ${crop.join(' x ')}, got ${preprocessing.resize}`);
  }
  if (Math.min(...preprocessing.std) <= 0) throw fields.refusal('std must be above 0');
  return preprocessing;
}

function readConfidence(fields: Fields): Confidence {
  const confidence = {
    temperature: fields.number('temperature'),
    unknown_below: fields.optionalNumber('unknown_below'),
  };
  fields.done();
  if (confidence.temperature <= 0) throw fields.refusal(`temperature must be above 0, got ${confidence.temperature}`);
  return confidence;
}

function readEmbedding(fields: Fields): Embedding {
  const features = fields.integer('features', 1, MAX_FEATURES);
  const dimensions = fields.integer('dimensions', 1, Math.min(features, MAX_DIMENSIONS));
  const embedding = { features, dimensions, whitening: fields.text('whitening') };
  fields.done();
  return embedding;
}

function readGraph(fields: Fields): GraphEntry {
  const entry: GraphEntry = {
    name: fields.text('name'),
    graph: fields.text('graph'),
    weights: fields.optionalText('weights'),
    session: fields.textsByName('session'),
    parameters: fields.integer('parameters', 0, 2 ** 53),
    macs: fields.integer('macs', 0, 2 ** 53),
    measurement: fields.mapping('measurement'),
  };
  fields.done();
  if (!GRAPH_NAME.test(entry.name)) {
    throw fields.refusal(
      `a graph's name has at most 64 letters, digits, blanks and _.+-, got ${entry.name.slice(0, 80)}`,
    );
  }
  const unknown = Object.keys(entry.session).filter((option) => !SESSION_OPTIONS.has(option));
  if (unknown.length)
    throw fields.refusal(`session: options must be known ones, got ${unknown.join(', ').slice(0, 200)}`);
  return entry;
}

function readMember(fields: Fields): Member {
  const codec = fields.text('codec');
  if (!Object.hasOwn(SUFFIXES, codec)) {
    throw new FailureError(
      'unsupported',
      `codec: expected ${Object.keys(SUFFIXES).join(' or ')}, got ${codec.slice(0, 40)}; update the app`,
    );
  }
  const member: Member = {
    size: fields.integer('size', 0, MAX_MEMBER_BYTES),
    sha256: fields.sha256('sha256'),
    codec: codec as Member['codec'],
    stored_size: fields.integer('stored_size', 0, MAX_MEMBER_BYTES),
  };
  fields.done();
  if (member.codec === 'none' && member.size !== member.stored_size) {
    throw fields.refusal(`stored_size: without a codec it is size, ${member.size}, got ${member.stored_size}`);
  }
  return member;
}
