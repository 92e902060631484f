/** The app's life: secured, installed, raced; then a model and a mode to look with, and the settings. */
import { deviceHere } from '../engine/device.ts';
import type { FailureError } from '../failure.ts';
import { say } from '../i18n/speech.ts';
import { everything, type Catalog, type ModelEntry } from '../install/catalog.ts';
import { InstallError } from '../install/install-error.ts';
import { Installer } from '../install/installer.ts';
import type { Progress } from '../install/progress.ts';
import { loadCatalog } from '../install/read-catalog.ts';
import { secured } from '../install/ready.ts';
import { History } from '../monitor/history.ts';
import { Monitor } from '../monitor/monitor.ts';
import { readGallery } from '../recognition/gallery-file.ts';
import { openDatabase } from '../store/database.ts';
import { openStorage, SettingsStore, type Mode } from '../store/settings.ts';
import { Shelf } from '../store/shelf.ts';
import { Signal } from '../store/signal.ts';
import { Collection, kindOf } from './collection.ts';
import { HomeScreen } from './home-screen.ts';
import { Looking } from './looking.ts';
import { Model, type RaceProgress } from './model.ts';
import { troubleAtStart, type StartTrouble } from './start-trouble.ts';

export type Phase =
  | { kind: 'securing' }
  | { kind: 'installing'; progress: Progress | null }
  | { kind: 'racing'; progress: RaceProgress | null }
  | { kind: 'opening' }
  | { kind: 'ready' }
  /** `neededBytes` is what is missing where the trouble is room, else 0. */
  | { kind: 'failed'; trouble: StartTrouble; neededBytes: number };

/** An engine that ends more often than this within a minute does not live on this phone. */
const REOPENINGS = 2;

export class Session {
  readonly settings = new SettingsStore(openStorage());
  readonly phase = new Signal<Phase>({ kind: 'securing' });
  readonly looking = new Looking();
  readonly installer = new Installer();
  readonly homeScreen = new HomeScreen(deviceHere());
  /** All below are there from the phase "installing" on. */
  catalog!: Catalog;
  shelf!: Shelf;
  history!: History;
  model!: Model;
  monitor!: Monitor;
  private collection!: Collection;
  private ends: number[] = [];
  private turn = 0;

  /** From nothing to an open model. Shows what goes wrong, and may be called again then. */
  async start(): Promise<void> {
    this.phase.value = { kind: 'securing' };
    try {
      const { controlled, problem } = await secured();
      if (!controlled) return await this.fail(problem ?? 'failed');
      this.catalog = await loadCatalog();
      await this.furnish();
      this.phase.value = { kind: 'installing', progress: null };
      await this.installer.install(this.catalog, (progress) => (this.phase.value = { kind: 'installing', progress }));
      await this.enter(this.settings.value.mode);
    } catch (error) {
      await this.stumble(error);
    }
  }

  /** Go to a mode: open its model, give it its gallery, look again at what is shown. */
  async enter(mode: Mode): Promise<void> {
    const turn = ++this.turn;
    this.settings.change({ mode });
    const entry = this.collection.modelFor(mode, this.settings.value.model);
    if (!entry) return this.fail('no-model');
    try {
      await this.looking.use(null);
      const engine = await this.open(entry);
      const kind = kindOf(mode);
      const gallery = kind && (await this.collection.gallery(kind, entry));
      // Another mode was chosen meanwhile; it comes after this in the engine's line.
      if (turn !== this.turn) return;
      await engine.setGallery(gallery);
      if (turn !== this.turn) return;
      this.phase.value = { kind: 'ready' };
      await this.looking.use({
        engine,
        monitor: this.monitor,
        searching: gallery !== null,
        empty: kind !== null && gallery === null,
        fail: (failure) => void this.revive(failure),
      });
    } catch (error) {
      if (turn === this.turn) await this.stumble(error);
    }
  }

  /** The mode again: its gallery changed. */
  refresh(): Promise<void> {
    return this.enter(this.settings.value.mode);
  }

  /** Use another model from now on. */
  async useModel({ id }: ModelEntry): Promise<void> {
    this.settings.change({ model: id });
    await this.refresh();
  }

  /** Open the model anew, after another race where that is asked for. */
  async reopen({ race }: { race?: 'wasm' | 'webgpu' } = {}): Promise<void> {
    const { entry } = this.model;
    await this.looking.use(null);
    this.model.close();
    try {
      if (entry && race) await this.model.race(entry, { webgpu: race === 'webgpu' }, this.showRace);
    } catch (error) {
      return this.stumble(error);
    }
    await this.refresh();
  }

  /** End the lesson; with a name, what was taught is kept. */
  async endLesson(label: string | null): Promise<void> {
    const shots = this.looking.endLesson();
    const kind = kindOf(this.settings.value.mode);
    const { entry } = this.model;
    if (!shots || !label || !kind || !entry) return;
    const name = say(kind === 'products' ? 'myProducts' : 'myLandmarks');
    await this.shelf.learn(kind, name, entry, label, shots);
    await this.refresh();
  }

  /** Remove all that the app keeps on this phone, but for the app itself. */
  async removeEverything(): Promise<void> {
    await this.looking.use(null);
    this.looking.camera.stop();
    this.model.close();
    await this.shelf.clear();
    await this.history.clear();
    await this.installer.remove(everything(this.catalog));
    this.settings.reset();
  }

  private async furnish(): Promise<void> {
    this.model?.close();
    this.model = new Model(this.catalog, this.installer, this.settings);
    if (!this.shelf) {
      const database = await openDatabase();
      this.shelf = new Shelf(database);
      await this.shelf.load();
      this.history = new History(database);
      this.monitor = new Monitor(this.history);
    }
    this.collection = new Collection(this.catalog, this.shelf, async (entry) =>
      readGallery(await this.installer.read(entry)),
    );
  }

  private async open(entry: ModelEntry) {
    if (this.model.entry?.id === entry.id && this.model.engine) return this.model.engine;
    this.phase.value = { kind: 'opening' };
    return this.model.open(entry, this.showRace);
  }

  private showRace = (progress: RaceProgress): void => {
    this.phase.value = { kind: 'racing', progress };
  };

  private async revive(failure: FailureError): Promise<void> {
    const now = Date.now();
    this.ends = [...this.ends.filter((then) => now - then < 60_000), now];
    if (this.ends.length > REOPENINGS) await this.stumble(failure);
    else await this.reopen();
  }

  private stumble(error: unknown): Promise<void> {
    return this.fail(troubleAtStart(error), error instanceof InstallError ? error.neededBytes : 0);
  }

  private async fail(trouble: StartTrouble, neededBytes = 0): Promise<void> {
    this.phase.value = { kind: 'failed', trouble, neededBytes };
    this.model?.close();
    this.looking.camera.stop();
    await this.looking.use(null);
  }
}
