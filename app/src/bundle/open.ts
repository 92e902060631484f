/** Opening a .lens file, as if a stranger had made it. */
import { FailureError } from '../failure.ts';
import { Content } from './content.ts';
import { startSha256 } from './digest.ts';
import type { GraphEntry, Manifest, Member } from './manifest.ts';
import { naming, readOutline, type Outline } from './outline.ts';
import { storedName } from './read-manifest.ts';
import { RecordDecoder } from './records.ts';
import { unzipped } from './zip.ts';
import { Zstd } from './zstd.ts';

/** Takes a member's coded bytes as they come. */
interface Decoder {
  push(piece: Uint8Array): void;
  /** That was all; throws when it was not. */
  end(): void;
}

const DECODERS: Record<Member['codec'], (content: Content) => Decoder> = {
  none: (content) => ({ push: (piece) => content.add(piece), end: () => undefined }),
  zstd: (content) => {
    const zstd = new Zstd();
    return { push: (piece) => zstd.push(piece, (given) => content.add(given)), end: () => zstd.end() };
  },
  tensors: (content) => new RecordDecoder(content),
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
  readonly manifest: Manifest;
  readonly #entries: Outline['entries'];

  constructor({ manifest, entries }: Outline) {
    this.manifest = manifest;
    this.#entries = entries;
  }

  /**
   * The decoded content of a member, made while the file is read: in no more memory than it takes itself and a little.
   *
   * @throws FailureError "corrupt" when it is damaged or not there.
   */
  async read(path: string): Promise<Uint8Array<ArrayBuffer>> {
    if (!Object.hasOwn(this.manifest.members, path)) {
      const names = Object.keys(this.manifest.members).join(', ');
      throw new FailureError('corrupt', `there is no member ${path}; it has ${names}`);
    }
    const member = this.manifest.members[path]!;
    return naming(`member ${path}`, async () => {
      const content = new Content(member.size);
      const decoder = DECODERS[member.codec](content);
      const digest = await startSha256();
      for await (const piece of unzipped(this.#entries.get(storedName(path, member))!)) {
        const before = content.length;
        decoder.push(piece);
        digest.update(content.view(before));
      }
      decoder.end();
      if (content.length !== member.size) {
        throw new FailureError('corrupt', `unpacks to ${content.length} bytes, its manifest says ${member.size}`);
      }
      if (digest.digest() !== member.sha256) {
        throw new FailureError('corrupt', 'its SHA-256 is not the one in the manifest');
      }
      return content.take();
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
 * Open a .lens file and check all but the content of its members. It is read in slices, as they are needed.
 *
 * @throws FailureError: "corrupt", "newer" or "unsupported".
 */
export async function openBundle(file: Blob): Promise<Bundle> {
  return new Bundle(await readOutline(file));
}
