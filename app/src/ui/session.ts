/** The app's life: securing, installing, racing, then the camera; what mode, model, picture and settings need. */
import { Camera } from '../camera/camera.ts';
import { grab } from '../camera/frames.ts';
import { openPhoto, PhotoError } from '../camera/photo.ts';
import type { Region } from '../engine/protocol.ts';
import { FailureError } from '../failure.ts';
import { say } from '../i18n/speech.ts';
import { everything, type Catalog, type ModelEntry } from '../install/catalog.ts';
import { loadCatalog } from '../install/read-catalog.ts';
import { InstallError } from '../install/install-error.ts';
import { Installer } from '../install/installer.ts';
import type { Progress } from '../install/progress.ts';
import { secured } from '../install/ready.ts';
import { History } from '../monitor/history.ts';
import { Monitor } from '../monitor/monitor.ts';
import { readGallery } from '../recognition/gallery-file.ts';
import { openDatabase } from '../store/database.ts';
import { openStorage, SettingsStore, type Mode } from '../store/settings.ts';
import { Shelf } from '../store/shelf.ts';
import { Signal } from '../store/signal.ts';
import { deviceHere } from '../engine/device.ts';
import { Collection, kindOf } from './collection.ts';
import type { Fit } from './geometry.ts';
import { HomeScreen } from './home-screen.ts';
import { Lesson } from './lesson.ts';
import { Live } from './live.ts';
import { Model, type RaceProgress } from './model.ts';
import type { Reading } from './reading.ts';
import { readStill, type Still } from './still.ts';
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
  readonly reading = new Signal<Reading>({ kind: 'waiting' });
  readonly still = new Signal<Still | null>(null);
  readonly video = document.createElement('video');
  readonly camera: Camera;
  readonly installer = new Installer();
  readonly homeScreen = new HomeScreen(deviceHere());
  /** A lesson has the engine and the camera for itself. */
  readonly lesson = new Signal<Lesson | null>(null);
  catalog!: Catalog;
  shelf!: Shelf;
  history!: History;
  monitor!: Monitor;
  model!: Model;
  collection!: Collection;
  /** What of a frame lies in the viewfinder; the stage says. */
  regionOf: (size: { width: number; height: number }) => Region | null = () => null;
  /** Done once a reading is on the page; the page says. */
  drawn: () => Promise<unknown> = () => Promise.resolve();
  private live: Live | null = null;
  private searching = false;
  private ends: number[] = [];
  private turn = 0;

  constructor() {
    this.video.muted = true;
    this.video.playsInline = true;
    this.camera = new Camera(this.video);
    this.camera.state.subscribe(() => this.watch());
  }

  /** From nothing to an open model. Shows what goes wrong, and may be called again then. */
  async start(): Promise<void> {
    this.phase.value = { kind: 'securing' };
    try {
      const { controlled, problem } = await secured();
      if (!controlled) return this.fail(problem ?? 'failed');
      this.catalog = await loadCatalog();
      await this.furnish();
      this.phase.value = { kind: 'installing', progress: null };
      await this.installer.install(this.catalog, (progress) => (this.phase.value = { kind: 'installing', progress }));
      await this.enter(this.settings.value.mode);
    } catch (error) {
      this.stumble(error);
    }
  }

  /** Go to a mode: open its model, give it its gallery, look again at what is shown. */
  async enter(mode: Mode): Promise<void> {
    const turn = ++this.turn;
    this.settings.change({ mode });
    const entry = this.collection.modelFor(mode, this.settings.value.model);
    if (!entry) return this.fail('no-model');
    try {
      this.live?.stop();
      this.reading.value = { kind: 'waiting' };
      if (this.model.entry?.id !== entry.id || !this.model.engine) await this.open(entry);
      const kind = kindOf(mode);
      const gallery = kind && (await this.collection.gallery(kind, entry));
      if (turn !== this.turn) return;
      await this.model.engine?.setGallery(gallery);
      this.searching = gallery !== null;
      if (kind && !gallery) this.reading.value = { kind: 'empty' };
      this.phase.value = { kind: 'ready' };
      this.watch();
      await this.readStill();
    } catch (error) {
      if (turn === this.turn) this.stumble(error);
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
    this.live?.stop();
    this.model.close();
    try {
      if (entry && race) {
        const webgpu = race === 'webgpu';
        await this.model.race(entry, { webgpu }, (progress) => (this.phase.value = { kind: 'racing', progress }));
      }
    } catch (error) {
      return this.stumble(error);
    }
    await this.refresh();
  }

  /** Everything that the app keeps on this phone, but for the app itself. */
  async removeEverything(): Promise<void> {
    this.live?.stop();
    this.camera.stop();
    this.model.close();
    await this.shelf.clear();
    await this.history.clear();
    await this.installer.remove(everything(this.catalog));
    this.settings.reset();
  }

  /** Hold the frame that the camera shows. */
  async freeze(): Promise<void> {
    const frame = await grab(this.video);
    if (!frame) return;
    this.show(await createImageBitmap(frame), 'cover');
    frame.close();
  }

  /** Look at a photo from the album. Returns false when it is none that can be read. */
  async openPhoto(file: Blob): Promise<boolean> {
    try {
      this.show(await openPhoto(file), 'contain');
      return true;
    } catch (error) {
      if (error instanceof PhotoError) return false;
      throw error;
    }
  }

  /** Back to the camera. */
  thaw(): void {
    const before = this.still.value;
    this.still.value = null;
    before?.bitmap.close();
    this.rest();
    this.watch();
  }

  /** The viewfinder moved. */
  async moved(): Promise<void> {
    this.live?.moved();
    await this.readStill();
  }

  /** Begin to teach one thing, for the gallery of the mode. */
  teach(): void {
    const { engine } = this.model;
    if (!engine || this.lesson.value) return;
    this.lesson.value = new Lesson(engine, this.video, (size) => this.regionOf(size));
    this.watch();
  }

  /** End the lesson; with a name, what was taught is kept. */
  async endLesson(label: string | null): Promise<void> {
    const lesson = this.lesson.value;
    const kind = kindOf(this.settings.value.mode);
    this.lesson.value = null;
    if (lesson && label && kind && this.model.entry) {
      const name = say(kind === 'products' ? 'myProducts' : 'myLandmarks');
      await this.shelf.learn(kind, name, this.model.entry, label, lesson.shots());
    }
    lesson?.close();
    await this.refresh();
  }

  private show(bitmap: ImageBitmap, fit: Fit): void {
    const before = this.still.value;
    this.still.value = { id: (before?.id ?? 0) + 1, bitmap, fit };
    before?.bitmap.close();
    this.watch();
    void this.readStill();
  }

  private rest(): void {
    this.reading.value = this.reading.value.kind === 'empty' ? { kind: 'empty' } : { kind: 'waiting' };
  }

  private async readStill(): Promise<void> {
    const still = this.still.value;
    const engine = this.model.engine;
    if (!still || !engine || this.reading.value.kind === 'empty') return;
    const reading = await readStill(engine, still, this.regionOf(still.bitmap), this.searching).catch(() => null);
    if (reading && still === this.still.value) this.reading.value = reading;
  }

  private async furnish(): Promise<void> {
    if (this.shelf) return;
    const database = await openDatabase();
    this.shelf = new Shelf(database);
    await this.shelf.load();
    this.history = new History(database);
    this.monitor = new Monitor(this.history);
    this.model = new Model(this.catalog, (file) => this.installer.read(file), this.settings);
    this.collection = new Collection(this.catalog, this.shelf, async (entry) =>
      readGallery(await this.installer.read(entry)),
    );
  }

  private async open(entry: ModelEntry): Promise<void> {
    this.phase.value = { kind: 'opening' };
    await this.model.open(entry, (progress) => (this.phase.value = { kind: 'racing', progress }));
  }

  /** Run the live loop while, and only while, there is something live to look at. */
  private watch(): void {
    this.live?.stop();
    this.live = null;
    const engine = this.model?.engine;
    const shown = this.camera.state.value.kind === 'live' && !this.still.value && !this.lesson.value;
    if (!shown || !engine || this.phase.value.kind !== 'ready' || this.reading.value.kind === 'empty') return;
    this.live = new Live({
      video: this.video,
      engine,
      monitor: this.monitor,
      searching: this.searching,
      regionOf: (size) => this.regionOf(size),
      show: (reading) => {
        this.reading.value = reading;
        return this.drawn();
      },
      fail: (failure) => this.revive(failure),
    });
  }

  private revive(failure: FailureError): void {
    const now = Date.now();
    this.ends = [...this.ends.filter((then) => now - then < 60_000), now];
    if (this.ends.length > REOPENINGS) this.stumble(failure);
    else void this.reopen();
  }

  private stumble(error: unknown): void {
    this.fail(troubleAtStart(error), error instanceof InstallError ? error.neededBytes : 0);
  }

  private fail(trouble: StartTrouble, neededBytes = 0): void {
    this.live?.stop();
    this.phase.value = { kind: 'failed', trouble, neededBytes };
  }
}
