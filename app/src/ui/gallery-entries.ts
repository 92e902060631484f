/** The entries of one gallery: rename one, remove one. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { say, sayCount } from '../i18n/speech.ts';
import type { GalleryEntry, GalleryFile } from '../recognition/gallery.ts';
import { icons } from './icons.ts';
import { base, buttons, rows } from './styles.ts';
import { Watch } from './watch.ts';

/** More are not drawn: a list of thousands helps no one, and import and export take them all. */
const MOST_ROWS = 200;

@customElement('pocket-gallery-entries')
export class GalleryEntries extends LitElement {
  static override styles = [
    base,
    buttons,
    rows,
    css`
      form {
        display: flex;
        flex: 1 1 100%;
        flex-wrap: wrap;
        gap: 0.5rem;
        padding: 0.375rem 0;
      }
      input[type='text'] {
        flex: 1 1 9rem;
        min-width: 0;
      }
      .row .round {
        margin-inline: -0.5rem;
      }
    `,
  ];

  @property({ attribute: false }) file!: GalleryFile;
  @state() private editing: string | null = null;

  constructor() {
    super();
    new Watch(this);
  }

  override render() {
    const { entries } = this.file;
    const more = entries.length - MOST_ROWS;
    return html`
      <ul class="group" ?hidden=${entries.length === 0}>
        ${entries
          .slice(0, MOST_ROWS)
          .map((entry) => html`<li class="row">${entry.id === this.editing ? this.form(entry) : this.row(entry)}</li>`)}
      </ul>
      ${more > 0 ? html`<p class="note">${sayCount('moreEntries', more)}</p>` : nothing}
    `;
  }

  protected override updated(): void {
    this.renderRoot.querySelector('input')?.focus();
  }

  private row({ id, label, vectors }: GalleryEntry) {
    return html`
      <span class="name">${label}<small>${sayCount('shots', vectors)}</small></span>
      <button class="round" aria-label=${say('rename', { name: label })} @click=${() => (this.editing = id)}>
        ${icons.pencil}
      </button>
      <button
        class="round"
        aria-label=${say('remove', { name: label })}
        @click=${() => this.dispatchEvent(new CustomEvent<string>('remove', { detail: id }))}
      >
        ${icons.trash}
      </button>
    `;
  }

  private form({ id, label }: GalleryEntry) {
    return html`<form @submit=${(event: SubmitEvent) => this.rename(event, id)}>
      <input type="text" name="label" maxlength="80" required aria-label=${say('nameIt')} .value=${label} />
      <button class="pill primary">${say('keep')}</button>
    </form>`;
  }

  private rename(event: SubmitEvent, id: string): void {
    event.preventDefault();
    const label = String(new FormData(event.target as HTMLFormElement).get('label')).trim();
    this.editing = null;
    if (label) this.dispatchEvent(new CustomEvent('rename', { detail: { id, label } }));
  }
}
