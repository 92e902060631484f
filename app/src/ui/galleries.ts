/** The things that the app knows by example: the site's, one's own, and imported ones. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { say, sayCount } from '../i18n/speech.ts';
import { readGallery, writeGallery } from '../recognition/gallery-file.ts';
import type { GalleryFile } from '../recognition/gallery.ts';
import { withLabel, withoutEntry, type OwnGallery } from '../store/own-gallery.ts';
import './gallery-entries.ts';
import { icons } from './icons.ts';
import type { Session } from './session.ts';
import './sheet.ts';
import { download } from './still.ts';
import { base, buttons, rows } from './styles.ts';
import { Watch } from './watch.ts';

@customElement('pocket-galleries')
export class Galleries extends LitElement {
  static override styles = [
    base,
    buttons,
    rows,
    css`
      pocket-gallery-entries {
        display: block;
        margin-bottom: 1rem;
      }
    `,
  ];

  @property({ attribute: false }) session!: Session;
  @property() kind: GalleryFile['kind'] = 'products';
  @state() private openId: string | null = null;
  @state() private trouble = '';

  constructor() {
    super();
    new Watch(this, () => [this.session.shelf.galleries, this.session.shelf.lasting]);
  }

  private get open(): OwnGallery | undefined {
    return this.session.shelf.galleries.value.find(({ id }) => id === this.openId);
  }

  override render() {
    const { open } = this;
    return html`<pocket-sheet
      heading=${open ? open.file.name : say(this.kind)}
      ?nested=${open !== undefined}
      @back=${() => (this.openId = null)}
      @close=${() => this.dispatchEvent(new CustomEvent('close'))}
    >
      ${open ? this.gallery(open) : this.list()}
    </pocket-sheet>`;
  }

  private list() {
    const { shelf, catalog, model } = this.session;
    const own = shelf.galleries.value.filter(({ file }) => file.kind === this.kind);
    const site = catalog.galleries.filter(({ kind }) => kind === this.kind);
    const fits = (fingerprint: string) => fingerprint === model.entry?.fingerprint;
    return html`
      ${this.trouble ? html`<p class="note" role="alert">${this.trouble}</p>` : nothing}
      ${shelf.lasting.value ? nothing : html`<p class="note" role="alert">${say('notLasting')}</p>`}
      ${own.length + site.length === 0 ? html`<p class="note">${say('galleriesEmpty')}</p>` : nothing}
      <div class="group" ?hidden=${own.length === 0}>
        ${own.map(
          ({ id, file }) =>
            html`<button class="row" @click=${() => (this.openId = id)}>
              <span class="name"
                >${file.name}<small
                  >${sayCount('entries', file.entries.length)}${
                    fits(file.backbone.fingerprint) ? nothing : ` · ${say('otherModel', { name: file.backbone.name })}`
                  }</small
                ></span
              >${icons.chevron}
            </button>`,
        )}
      </div>
      ${site.length > 0 ? html`<h3 class="group-title">${say('ofSite')}</h3>` : nothing}
      <div class="group" ?hidden=${site.length === 0}>
        ${site.map(
          ({ name, entries }) =>
            html`<p class="row">
              <span class="name">${name}<small>${sayCount('entries', entries)}</small></span>
            </p>`,
        )}
      </div>
      <div class="group">
        <button class="row" @click=${() => this.renderRoot.querySelector<HTMLInputElement>('input')?.click()}>
          ${icons.into}<span class="name">${say('importGallery')}<small>${say('importHint')}</small></span>
        </button>
        <input type="file" accept=".gallery" hidden aria-label=${say('importGallery')} @change=${this.import} />
      </div>
    `;
  }

  private gallery(gallery: OwnGallery) {
    const { shelf } = this.session;
    const keep = (file: GalleryFile) => void shelf.keep({ ...gallery, file }).then(() => this.session.refresh());
    return html`
      <pocket-gallery-entries
        .file=${gallery.file}
        @rename=${({ detail: { id, label } }: CustomEvent<{ id: string; label: string }>) =>
          keep(withLabel(gallery.file, id, label))}
        @remove=${({ detail: id }: CustomEvent<string>) => keep(withoutEntry(gallery.file, id))}
      ></pocket-gallery-entries>
      <div class="group">
        <button class="row" @click=${() => void this.export(gallery)}>
          ${icons.out}<span class="name">${say('exportGallery')}<small>${say('exportHint')}</small></span>
        </button>
        <button class="row" @click=${() => void this.discard(gallery)}>
          ${icons.trash}<span class="name">${say('removeGallery')}</span>
        </button>
      </div>
    `;
  }

  private async import(event: Event): Promise<void> {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    input.value = '';
    if (!file) return;
    try {
      const gallery = await readGallery(await file.arrayBuffer());
      const fits = this.session.catalog.models.some(({ fingerprint }) => fingerprint === gallery.backbone.fingerprint);
      // Its vectors mean nothing to another model, so nothing is gained by keeping it.
      this.trouble = fits ? '' : say('importOtherModel', { name: gallery.name, model: gallery.backbone.name });
      if (!fits) return;
      await this.session.shelf.keep({ id: crypto.randomUUID(), origin: 'imported', file: gallery });
      this.kind = gallery.kind;
      await this.session.refresh();
    } catch {
      this.trouble = say('importUnreadable', { name: file.name });
    }
  }

  private async export({ file }: OwnGallery): Promise<void> {
    const bytes = await writeGallery(file);
    download(new File([bytes], `${file.name}.gallery`, { type: 'application/octet-stream' }));
  }

  private async discard({ id }: OwnGallery): Promise<void> {
    this.openId = null;
    await this.session.shelf.remove(id);
    await this.session.refresh();
  }
}
