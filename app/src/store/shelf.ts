/** The shelf of own galleries: what IndexedDB keeps, mirrored in memory and told to the app's other tabs. */
import type { GalleryFile } from '../recognition/gallery.ts';
import type { Database } from './database.ts';
import { emptyGallery, withEntry, type OwnGallery } from './own-gallery.ts';
import { Signal } from './signal.ts';

/** The model that a lesson was given in. */
type Taught = GalleryFile['backbone'];

export class Shelf {
  readonly galleries = new Signal<readonly OwnGallery[]>([]);
  /** False where nothing outlives the page: no IndexedDB, or it is full. */
  readonly lasting: Signal<boolean>;
  private readonly channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('pocketlens.galleries') : null;

  constructor(private readonly database: Database | null) {
    this.lasting = new Signal(database !== null);
    if (this.channel) this.channel.onmessage = () => void this.load();
  }

  async load(): Promise<void> {
    if (!this.database) return;
    try {
      this.galleries.value = await this.database.getAll('galleries');
    } catch {
      this.lasting.value = false;
    }
  }

  /** Keep a gallery, new or changed. */
  async keep(gallery: OwnGallery): Promise<void> {
    const others = this.galleries.value.filter((kept) => kept.id !== gallery.id);
    this.galleries.value = [...others, gallery];
    await this.write((database) => database.put('galleries', gallery));
  }

  /** Add one thing to the gallery that was taught on this phone, which is begun where there is none. */
  async learn(
    kind: GalleryFile['kind'],
    galleryName: string,
    model: Taught,
    label: string,
    shots: readonly Int8Array[],
  ): Promise<void> {
    const { name, fingerprint, dimensions } = model;
    const begun = this.galleries.value.find(
      ({ origin, file }) => origin === 'taught' && file.kind === kind && file.backbone.fingerprint === fingerprint,
    );
    const file = begun?.file ?? emptyGallery(kind, galleryName, { name, fingerprint, dimensions });
    await this.keep({ id: begun?.id ?? crypto.randomUUID(), origin: 'taught', file: withEntry(file, label, shots) });
  }

  async remove(id: string): Promise<void> {
    this.galleries.value = this.galleries.value.filter((kept) => kept.id !== id);
    await this.write((database) => database.delete('galleries', id));
  }

  async clear(): Promise<void> {
    this.galleries.value = [];
    await this.write((database) => database.clear('galleries'));
  }

  /** Own galleries of a kind that fit the model `fingerprint`. */
  fitting(kind: GalleryFile['kind'], fingerprint: string): OwnGallery[] {
    return this.galleries.value.filter(
      ({ file }) => file.kind === kind && file.backbone.fingerprint === fingerprint && file.entries.length > 0,
    );
  }

  private async write(change: (database: Database) => Promise<unknown>): Promise<void> {
    if (!this.database) return;
    try {
      await change(this.database);
      this.channel?.postMessage('changed');
    } catch {
      // Quota: it stays usable in memory, and the page says that it will not last.
      this.lasting.value = false;
    }
  }

  close(): void {
    this.channel?.close();
  }
}
