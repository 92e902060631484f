/** Which model and which gallery a mode needs. */
import type { Catalog, GalleryEntry, ModelEntry } from '../install/catalog.ts';
import type { GalleryFile } from '../recognition/gallery.ts';
import type { Mode } from '../store/settings.ts';
import { joined } from '../store/own-gallery.ts';
import type { Shelf } from '../store/shelf.ts';

export type Kind = GalleryFile['kind'];

/** The kind of gallery that a mode searches, or null where it does not. */
export function kindOf(mode: Mode): Kind | null {
  return mode === 'products' || mode === 'landmarks' ? mode : null;
}

export class Collection {
  private readonly read = new Map<string, GalleryFile>();

  constructor(
    private readonly catalog: Catalog,
    private readonly shelf: Shelf,
    private readonly readGallery: (entry: GalleryEntry) => Promise<GalleryFile>,
  ) {}

  /**
   * The model for a mode: the person's choice, unless only another model has a gallery of the mode's kind. null when
   * the site has no model.
   */
  modelFor(mode: Mode, chosen: string | null): ModelEntry | null {
    const { models } = this.catalog;
    const first = models.find(({ id }) => id === chosen) ?? models[0] ?? null;
    const kind = kindOf(mode);
    if (!kind || !first || this.has(kind, first)) return first;
    const able = first.dimensions > 0 ? first : models.find(({ dimensions }) => dimensions > 0);
    return models.find((model) => this.has(kind, model)) ?? able ?? first;
  }

  /** All galleries of a kind that fit a model as one to search, or null without a single entry. */
  async gallery(kind: Kind, { fingerprint }: { fingerprint: string }): Promise<GalleryFile | null> {
    const base = await Promise.all(this.ofSite(kind, fingerprint).map((entry) => this.file(entry)));
    const own = this.shelf.fitting(kind, fingerprint).map(({ file }) => file);
    return joined([...base, ...own]);
  }

  /** The site's own galleries of a kind that fit a model. */
  ofSite(kind: Kind, fingerprint: string): GalleryEntry[] {
    return this.catalog.galleries.filter((entry) => entry.kind === kind && entry.fingerprint === fingerprint);
  }

  private has(kind: Kind, { fingerprint }: ModelEntry): boolean {
    return this.ofSite(kind, fingerprint).length > 0 || this.shelf.fitting(kind, fingerprint).length > 0;
  }

  private async file(entry: GalleryEntry): Promise<GalleryFile> {
    const file = this.read.get(entry.path) ?? (await this.readGallery(entry));
    this.read.set(entry.path, file);
    return file;
  }
}
