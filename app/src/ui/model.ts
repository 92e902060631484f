/** The model in use: read from what is installed, raced once on this phone, opened the fastest way. */
import { readOutline } from '../bundle/outline.ts';
import { Engine } from '../engine/client.ts';
import { deviceHere } from '../engine/device.ts';
import type { Way } from '../engine/protocol.ts';
import { race, ways } from '../engine/race.ts';
import { FailureError } from '../failure.ts';
import type { Catalog, ModelEntry, RuntimeEntry, SiteFile } from '../install/catalog.ts';
import type { Lap, SettingsStore } from '../store/settings.ts';

/** What is installed. */
export interface Installed {
  /** The bytes of a file, unpacked. */
  read(file: SiteFile): Promise<ArrayBuffer>;
  /** A file as it lies on the device. */
  blob(file: SiteFile): Promise<Blob>;
}

/** How far a race is. */
export interface RaceProgress {
  share: number;
  trying: Way;
}

export class Model {
  engine: Engine | null = null;
  entry: ModelEntry | null = null;
  /** Of two that are opened at once, the later counts. */
  private turn = 0;

  constructor(
    private readonly catalog: Catalog,
    private readonly installed: Installed,
    private readonly settings: SettingsStore,
  ) {}

  /**
   * Open `entry`, after a race where this phone has not run it yet. Ways that fail (too little memory for threads,
   * a GPU that went away) give way quietly to the next fastest.
   *
   * @throws FailureError of the last way when none opens.
   */
  async open(entry: ModelEntry, progress: (progress: RaceProgress) => void): Promise<Engine> {
    this.close();
    const turn = ++this.turn;
    this.entry = entry;
    const bundle = await this.installed.blob(entry);
    if (!this.raced(entry)) await this.race(entry, { webgpu: false }, progress, bundle);
    let failure: unknown = new FailureError('runtime', 'no way to run the model on this device');
    for (const way of this.order(entry)) {
      try {
        const engine = await this.openWay(bundle, way);
        if (turn === this.turn) return (this.engine = engine);
        engine.close();
        throw new FailureError('runtime', 'another model was chosen meanwhile');
      } catch (error) {
        if (turn !== this.turn) throw error;
        failure = error;
        // Another way would find the same file.
        if (error instanceof FailureError && (error.code === 'corrupt' || error.code === 'newer')) break;
      }
    }
    throw failure;
  }

  /** Race the ways anew, with the GPU or without, and remember the figures. Closes the open engine first. */
  async race(
    entry: ModelEntry,
    { webgpu }: { webgpu: boolean },
    progress: (progress: RaceProgress) => void,
    opened?: Blob,
  ): Promise<Lap[]> {
    this.close();
    const bundle = opened ?? (await this.installed.blob(entry));
    const device = deviceHere();
    const { manifest } = await readOutline(bundle);
    const contestants = ways(manifest.graphs, device, { webgpu });
    const { timings } = await race(contestants, (way) => this.openWay(bundle, way), {
      progress: (share, trying) => progress({ share, trying }),
    });
    const laps = timings
      .flatMap(({ way, median }) => (median === null ? [] : [{ way, medianMs: median }]))
      .sort((a, b) => a.medianMs - b.medianMs);
    const failure = timings.find((timing) => timing.failure)?.failure;
    if (laps.length === 0) throw new FailureError(failure?.code ?? 'runtime', failure?.detail ?? 'no way ran');
    const { races } = this.settings.value;
    this.settings.change({ races: { ...races, [entry.fingerprint]: { isolated: device.isolated, laps } } });
    return laps;
  }

  close(): void {
    this.engine?.close();
    this.engine = null;
  }

  private raced(entry: ModelEntry): boolean {
    const kept = this.settings.value.races[entry.fingerprint];
    return kept !== undefined && (kept.isolated || !deviceHere().isolated);
  }

  /** The chosen way, then by speed; last one plain thread, which runs wherever the app does. */
  private order(entry: ModelEntry): Way[] {
    const laps = this.settings.value.races[entry.fingerprint]?.laps ?? [];
    const chosen = laps.filter(({ way }) => sameWay(way, this.settings.value.way)).map(({ way }) => way);
    const others = laps.map(({ way }) => way).filter((way) => !chosen.includes(way));
    const { isolated } = deviceHere();
    return [...chosen, ...others].map((way) => (isolated || way.provider === 'webgpu' ? way : { ...way, threads: 1 }));
  }

  private async openWay(bundle: Blob, way: Way): Promise<Engine> {
    const entry = this.runtime(way);
    const runtime = await this.installed.read(entry);
    return Engine.open({ bundle, runtime, glue: new URL(entry.glue, document.baseURI).href, way });
  }

  private runtime({ provider }: Way): RuntimeEntry {
    const entry = this.catalog.runtimes.find((runtime) => runtime.provider === provider);
    if (!entry) throw new FailureError('unsupported', `this site has no runtime for ${provider}`);
    return entry;
  }
}

/** Whether two ways are one. */
export function sameWay(a: Way, b: Way | null): boolean {
  return b !== null && a.graph === b.graph && a.provider === b.provider && a.threads === b.threads;
}
