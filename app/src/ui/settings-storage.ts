/** What lies on the phone, and how to be rid of it. */
import { html, LitElement, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { bytes, say } from '../i18n/speech.ts';
import { everything } from '../install/catalog.ts';
import type { Session } from './session.ts';
import { base, buttons, rows } from './styles.ts';
import { Watch } from './watch.ts';

@customElement('pocket-settings-storage')
export class SettingsStorage extends LitElement {
  static override styles = [base, buttons, rows];

  @property({ attribute: false }) session!: Session;
  @state() private usage: { usedBytes: number; quotaBytes: number; persisted: boolean } | null = null;
  @state() private filesBytes: number | null = null;
  @state() private sure = false;

  constructor() {
    super();
    new Watch(this);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.measure();
  }

  private async measure(): Promise<void> {
    const { installer, catalog } = this.session;
    this.usage = await installer.usage();
    const files = everything(catalog);
    const missing = new Set((await installer.missing(files)).map(({ path }) => path));
    const present = files.filter(({ path }) => !missing.has(path));
    this.filesBytes = present.reduce((total, { size }) => total + size, 0);
  }

  override render() {
    return html`
      <div class="group">
        <p class="row">
          <span class="name">${say('storageUsed')}</span>
          <span class="value">${this.usage ? bytes(this.usage.usedBytes) : '…'}</span>
        </p>
        <p class="row">
          <span class="name">${say('storageFiles')}</span>
          <span class="value">${this.filesBytes === null ? '…' : bytes(this.filesBytes)}</span>
        </p>
      </div>
      ${this.usage && !this.usage.persisted ? html`<p class="note">${say('storageNotKept')}</p>` : nothing}
      <div class="group">
        <button class="row" @click=${this.removeAll}>
          <span class="name">${say(this.sure ? 'removeSure' : 'removeAll')}<small>${say('removeAllHint')}</small></span>
        </button>
      </div>
    `;
  }

  private async removeAll(): Promise<void> {
    if (!this.sure) {
      this.sure = true;
      return;
    }
    await this.session.removeEverything();
    location.reload();
  }
}
