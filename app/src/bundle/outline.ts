/** What a .lens file says of itself: its directory and its manifest, checked, and nothing decoded. */
import { FailureError } from '../failure.ts';
import type { Manifest, Member } from './manifest.ts';
import { MANIFEST, readManifest, storedName } from './read-manifest.ts';
import { parseStrict } from './strict-json.ts';
import { readDirectory, unzip, type ZipEntry } from './zip.ts';

const MAX_MANIFEST_BYTES = 16 * 1024 ** 2;

export interface Outline {
  manifest: Manifest;
  /** What is in the zip, by name: the manifest, and its members as they are stored. */
  entries: ReadonlyMap<string, ZipEntry>;
}

/**
 * Read what a .lens file says of itself.
 *
 * @throws FailureError: "corrupt", "newer" or "unsupported".
 */
export async function readOutline(file: Blob): Promise<Outline> {
  const entries = await readDirectory(file);
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
  return { manifest, entries };
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
export async function naming<T>(what: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (thrown) {
    if (!(thrown instanceof FailureError) || thrown.code !== 'corrupt') throw thrown;
    throw new FailureError('corrupt', `${what}: ${thrown.message}; download it again`, { cause: thrown });
  }
}
