/** What the app promises, and what it is made of. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { say } from '../i18n/speech.ts';
import { checkForUpdate } from '../install/update.ts';
import { icons, mark } from './icons.ts';
import type { Session } from './session.ts';
import { base, buttons, rows } from './styles.ts';
import { Watch } from './watch.ts';

@customElement('pocket-about')
export class About extends LitElement {
  static override styles = [
    base,
    buttons,
    rows,
    css`
      .brand {
        display: flex;
        align-items: center;
        gap: 1rem;
        padding: 0.5rem 0.25rem 1.25rem;
      }
      .brand svg {
        width: 3.5rem;
        height: 3.5rem;
      }
      .brand b {
        display: block;
        font-size: 1.25rem;
        letter-spacing: -0.02em;
      }
      .promise {
        display: grid;
        grid-template-columns: auto 1fr;
        gap: 0.125rem 0.875rem;
        padding: 0.75rem 1rem;
        align-items: start;
      }
      .promise svg {
        grid-row: span 2;
        color: var(--accent);
      }
      .promise + .promise {
        border-top: 1px solid var(--line);
      }
      .promise p {
        color: var(--muted);
        font-size: 0.9375rem;
      }
      h3 {
        font-size: 1rem;
        font-weight: 600;
      }
    `,
  ];

  @property({ attribute: false }) session!: Session;
  @state() private state: 'current' | 'waiting' | 'offline' | 'asking' | null = null;

  constructor() {
    super();
    new Watch(this);
  }

  override render() {
    const { title, version } = this.session.catalog;
    const found = {
      current: say('updateNone'),
      waiting: say('updateThere'),
      offline: say('updateOffline'),
      asking: '…',
    };
    return html`
      <div class="brand">
        ${mark}<span><b>pocketlens</b>${title === 'pocketlens' ? nothing : title}</span>
      </div>
      <div class="group">
        ${this.promise(icons.lock, say('promiseFrames'), say('promiseFramesText'))}
        ${this.promise(icons.home, say('promiseOffline'), say('promiseOfflineText'))}
        ${this.promise(icons.check, say('promiseUpdates'), say('promiseUpdatesText'))}
      </div>
      <div class="group">
        <p class="row"><span class="name">${say('version')}</span><span class="value">${version.slice(0, 12)}</span></p>
        <button class="row" ?disabled=${this.state === 'asking'} @click=${this.check}>
          <span class="name" aria-live="polite"
            >${say('updateCheck')}${this.state ? html`<small>${found[this.state]}</small>` : nothing}</span
          >
        </button>
      </div>
      <p class="note">${say('licence')}</p>
    `;
  }

  private promise(icon: unknown, title: string, text: string) {
    return html`<div class="promise">
      ${icon}
      <h3>${title}</h3>
      <p>${text}</p>
    </div>`;
  }

  private async check(): Promise<void> {
    this.state = 'asking';
    this.state = await checkForUpdate();
  }
}
