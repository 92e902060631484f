/** The tabs: what to look for. Text has its place already, and says that it is on its way. */
import { css, html, LitElement } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { say } from '../i18n/speech.ts';
import { MODES, type Mode } from '../store/settings.ts';
import { base, buttons } from './styles.ts';
import { Watch } from './watch.ts';

@customElement('pocket-modes')
export class Modes extends LitElement {
  static override styles = [
    base,
    buttons,
    css`
      [role='tablist'] {
        display: flex;
        flex-wrap: wrap;
        gap: 0.125rem;
        padding: 0.1875rem;
        border-radius: 1.6875rem;
        background: var(--raised);
      }
      button {
        position: relative;
        flex: 1 1 auto;
        min-height: min(3rem, 60px);
        padding: 0 0.375rem;
        font-size: 0.9375rem;
        letter-spacing: -0.012em;
        font-weight: 500;
        color: var(--muted);
      }
      [aria-selected='true'] {
        font-weight: 650;
        color: var(--ink);
        background: var(--surface);
        box-shadow: 0 1px 4px rgb(0 0 0 / 0.12);
      }
      [aria-disabled='true'] {
        font-weight: 450;
      }
      [aria-disabled='true'] span {
        display: inline-block;
        margin-inline-start: 0.125rem;
        padding: 0 0.25rem;
        font-size: 0.6875rem;
        font-weight: 600;
        line-height: 1.5;
        border-radius: 0.5rem;
        color: var(--accent);
        background: var(--accent-soft);
        vertical-align: 0.0625rem;
      }
      @media (forced-colors: active) {
        [aria-selected='true'] {
          outline: 2px solid;
        }
      }
    `,
  ];

  @property() mode: Mode = 'objects';

  constructor() {
    super();
    new Watch(this);
  }

  private choose(mode: Mode): void {
    this.dispatchEvent(new CustomEvent<Mode>('choose', { detail: mode }));
  }

  private keys(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const tabs = [...this.renderRoot.querySelectorAll('button')];
    const here = tabs.indexOf(event.target as HTMLButtonElement);
    tabs[(here + step + tabs.length) % tabs.length]?.focus();
  }

  override render() {
    const names = {
      objects: say('objects'),
      products: say('products'),
      landmarks: say('landmarks'),
      text: say('text'),
    };
    return html`
      <div role="tablist" aria-label=${say('whatToLookFor')} @keydown=${this.keys}>
        ${MODES.map(
          (mode) => html`
            <button
              role="tab"
              aria-selected=${mode === this.mode}
              aria-disabled=${mode === 'text'}
              tabindex=${mode === this.mode ? 0 : -1}
              @click=${() => this.choose(mode)}
            >
              ${names[mode]}${mode === 'text' ? html`<span>${say('soon')}</span>` : ''}
            </button>
          `,
        )}
      </div>
    `;
  }
}
