/** Opening a .lens file, as if a stranger had made it. */
import { FailureError } from '../failure.ts';
import { sha256 } from './digest.ts';
import type { GraphEntry, Manifest, Member } from './manifest.ts';
import { MANIFEST, readManifest, storedName } from './read-manifest.ts';
import { decodeRecords } from './records.ts';
import { parseStrict } from './strict-json.ts';
import { readDirectory, unzip, type ZipEntry } from './zip.ts';
import { unzstd } from './zstd.ts';

const MAX_MANIFEST_BYTES = 16 * 1024 ** 2;

const UNDO: Record<Member['codec'], (coded: Uint8Array<ArrayBuffer>, size: number) => Uint8Array<ArrayBuffer>> = {
  none: (coded) => coded,
  zstd: unzstd,
  tensors: decodeRecords,
};

/** One graph, decoded and checked. */
export interface GraphFiles {
  /** An ONNX file. */
  graph: Uint8Array<ArrayBuffer>;
  /** What it calls `weights.bin`; empty where weights are inside, so that the runtime looks nowhere else. */
  weights: Uint8Array<ArrayBuffer>;
  /** Options that the runtime must be opened with. */
  session: Record<string, string>;
}

/** An open bundle: its manifest is checked, its members are checked as they are read. */
export class Bundle {
  constructor(
    readonly manifest: Manifest,
    private readonly entries: ReadonlyMap<string, ZipEntry>,
  ) {}

  /** The decoded content of a member. Throws FailureError "corrupt" when it is damaged or not there. */
  async read(path: string): Promise<Uint8Array<ArrayBuffer>> {
    if (!Object.hasOwn(this.manifest.members, path)) {
      const names = Object.keys(this.manifest.members).join(', ');
      throw new FailureError('corrupt', `there is no member ${path}; it has ${names}`);
    }
    const member = this.manifest.members[path]!;
    return naming(`member ${path}`, async () => {
      const coded = await unzip(this.entries.get(storedName(path, member))!);
      const content = UNDO[member.codec](coded, member.size);
      if (content.length !== member.size) {
        throw new FailureError('corrupt', `unpacks to ${content.length} bytes, its manifest says ${member.size}`);
      }
      if ((await sha256(content)) !== member.sha256) {
        throw new FailureError('corrupt', 'its SHA-256 is not the one in the manifest');
      }
      return content;
    });
  }

  /** What the manifest says of a graph. Throws FailureError "unsupported" when there is none of that name. */
  entry(name: string): GraphEntry {
    const found = this.manifest.graphs.find((graph) => graph.name === name);
    if (found) return found;
    const names = this.manifest.graphs.map((graph) => graph.name).join(', ');
    throw new FailureError('unsupported', `there is no graph ${name}; this bundle has ${names}`);
  }

  /** A graph with its weights, by name. */
  async graph(name: string): Promise<GraphFiles> {
    const { graph, weights, session } = this.entry(name);
    return {
      graph: await this.read(graph),
      weights: weights === null ? new Uint8Array(0) : await this.read(weights),
      session,
    };
  }
}

/**
 * Open a .lens file and check all but the content of its members.
 *
 * @throws FailureError: "corrupt", "newer" or "unsupported".
 */
export async function openBundle(file: Uint8Array<ArrayBuffer>): Promise<Bundle> {
  const entries = readDirectory(file);
  const entry = entries.get(MANIFEST);
  if (!entry) throw new FailureError('corrupt', `expected a .lens bundle, but this zip has no ${MANIFEST}`);
  if (entry.size > MAX_MANIFEST_BYTES) {
    throw new FailureError(
      'corrupt',
      `${MANIFEST} unpacks to ${entry.size} bytes, at most ${MAX_MANIFEST_BYTES} are allowed`,
    );
  }
  const manifest = await naming(MANIFEST, async () => readManifest(parseStrict(await unzip(entry))));
  checkMembers(entries, manifest.members);
  return new Bundle(manifest, entries);
}

/** The zip holds exactly what the manifest names, at the sizes it names. */
function checkMembers(entries: ReadonlyMap<string, ZipEntry>, members: Record<string, Member>): void {
  const stored = new Map(Object.entries(members).map(([path, member]) => [storedName(path, member), member]));
  for (const name of entries.keys()) {
    if (name !== MANIFEST && !stored.has(name)) {
      throw new FailureError('corrupt', `holds ${name}, which its manifest does not name`);
    }
  }
  for (const [name, member] of stored) {
    const size = entries.get(name)?.size;
    if (size === undefined) throw new FailureError('corrupt', `member ${name} is missing`);
    if (size !== member.stored_size) {
      throw new FailureError(
        'corrupt',
        `member ${name} is ${size} bytes in the zip, its manifest says ${member.stored_size}`,
      );
    }
  }
}

/** Put what is being read before what is wrong with it, and the way out after. */
async function naming<T>(what: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (thrown) {
    if (!(thrown instanceof FailureError) || thrown.code !== 'corrupt') throw thrown;
    throw new FailureError('corrupt', `${what}: ${thrown.message}; download it again`, { cause: thrown });
  }
}
