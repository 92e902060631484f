/** A line that says what happened, and goes by itself; or one that offers something and stays. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { say } from '../i18n/speech.ts';
import { icons } from './icons.ts';
import { base, buttons } from './styles.ts';
import { Watch } from './watch.ts';

@customElement('pocket-toast')
export class Toast extends LitElement {
  static override styles = [
    base,
    buttons,
    css`
      .toast {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        justify-content: flex-end;
        gap: 0 0.25rem;
        padding: 0.25rem 0.25rem 0.25rem 1.25rem;
        border-radius: 1.75rem;
        background: var(--surface);
        color: var(--ink);
        box-shadow: 0 8px 32px rgb(0 0 0 / 0.28);
        animation: drop var(--calm);
      }
      @keyframes drop {
        from {
          opacity: 0;
          transform: translateY(-0.75rem);
        }
      }
      p {
        flex: 1 1 10rem;
        padding: 0.625rem 0;
        line-height: 1.3;
      }
      .act {
        padding: 0 1rem;
        font-weight: 600;
        color: var(--accent);
      }
    `,
  ];

  @property() words = '';
  /** What the button says, if there is one. */
  @property() action: string | null = null;

  constructor() {
    super();
    new Watch(this);
  }

  override render() {
    if (!this.words) return nothing;
    return html`<div class="toast">
      <p role="status">${this.words}</p>
      ${
        this.action
          ? html`<button class="act" @click=${() => this.dispatchEvent(new CustomEvent('act'))}>${this.action}</button>`
          : nothing
      }
      <button class="round" aria-label=${say('close')} @click=${() => this.dispatchEvent(new CustomEvent('close'))}>
        ${icons.close}
      </button>
    </div>`;
  }
}
