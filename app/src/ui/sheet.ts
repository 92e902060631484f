/**
 * A sheet that comes up from below, or stands at the side of a large screen. A native dialog: focus stays in it and
 * returns to where it was, Escape closes it, what lies behind is inert.
 */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property, query } from 'lit/decorators.js';
import { say } from '../i18n/speech.ts';
import { icons } from './icons.ts';
import { base, buttons } from './styles.ts';
import { Watch } from './watch.ts';

/** Pulled down this far, pixels, a sheet closes. */
const CLOSING_PULL = 96;

@customElement('pocket-sheet')
export class Sheet extends LitElement {
  static override styles = [
    base,
    buttons,
    css`
      dialog {
        position: fixed;
        inset: auto 0 0 0;
        width: min(100%, 40rem);
        max-width: none;
        max-height: calc(100dvh - env(safe-area-inset-top) - 1.5rem);
        margin: 0 auto;
        padding: 0;
        border: 0;
        border-radius: var(--radius-sheet) var(--radius-sheet) 0 0;
        background: var(--surface);
        color: var(--ink);
        overflow: hidden;
        translate: 0 var(--pull, 0);
      }
      dialog[open] {
        display: flex;
        flex-direction: column;
        animation: rise var(--calm);
      }
      dialog::backdrop {
        background: rgb(6 10 11 / 0.5);
        animation: fade var(--calm);
      }
      @keyframes rise {
        from {
          transform: translateY(2.5rem);
          opacity: 0;
        }
      }
      @keyframes fade {
        from {
          opacity: 0;
        }
      }
      header {
        position: relative;
        display: flex;
        align-items: center;
        gap: 0.5rem;
        flex: none;
        padding: 1rem 0.75rem 0.5rem 1.5rem;
        touch-action: none;
      }
      header::before {
        content: '';
        position: absolute;
        inset: 0.5rem 0 auto;
        width: 2.25rem;
        height: 0.25rem;
        margin: 0 auto;
        border-radius: 1rem;
        background: var(--line);
      }
      header .back {
        margin-inline-start: -1rem;
      }
      h2 {
        flex: 1;
        min-width: 0;
        font-size: 1.375rem;
        font-weight: 700;
        line-height: 1.2;
        letter-spacing: -0.015em;
        overflow-wrap: anywhere;
      }
      .round.close {
        background: var(--raised);
      }
      .content {
        flex: 1;
        overflow-y: auto;
        overscroll-behavior: contain;
        padding: 0.25rem 1.25rem calc(1.5rem + env(safe-area-inset-bottom));
      }
      @media (min-width: 56rem) and (min-height: 35rem) {
        dialog {
          inset: 1rem 1rem 1rem auto;
          margin: 0;
          width: 26rem;
          max-height: none;
          height: calc(100dvh - 2rem);
          border-radius: var(--radius-sheet);
        }
        header::before {
          display: none;
        }
      }
    `,
  ];

  @property() heading = '';
  /** Shows an arrow that leads back one level. */
  @property({ type: Boolean }) nested = false;
  @query('dialog') private dialog!: HTMLDialogElement;
  private pulledFrom: number | null = null;

  constructor() {
    super();
    new Watch(this);
  }

  protected override firstUpdated(): void {
    this.dialog.showModal();
  }

  /** Close it; `close` follows, and whoever put the sheet there takes it away. */
  close(): void {
    this.dialog.close();
  }

  private grab(event: PointerEvent): void {
    if (event.target instanceof Element && event.target.closest('button')) return;
    this.pulledFrom = event.clientY;
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
  }

  private pull(event: PointerEvent): void {
    if (this.pulledFrom === null) return;
    this.dialog.style.setProperty('--pull', `${Math.max(0, event.clientY - this.pulledFrom)}px`);
  }

  private drop(event: PointerEvent): void {
    if (this.pulledFrom === null) return;
    const pulled = event.clientY - this.pulledFrom;
    this.pulledFrom = null;
    if (pulled > CLOSING_PULL) this.close();
    else this.dialog.style.setProperty('--pull', '0px');
  }

  private outside(event: MouseEvent): void {
    // A click on the backdrop has the dialog itself as its target, and lies outside of its box.
    const { top, left, right } = this.dialog.getBoundingClientRect();
    const out = event.clientY < top || event.clientX < left || event.clientX > right;
    if (event.target === this.dialog && out) this.close();
  }

  override render() {
    return html`
      <dialog
        aria-labelledby="heading"
        @close=${() => this.dispatchEvent(new CustomEvent('close'))}
        @click=${this.outside}
      >
        <header @pointerdown=${this.grab} @pointermove=${this.pull} @pointerup=${this.drop} @pointercancel=${this.drop}>
          ${
            this.nested
              ? html`<button
                  class="round back"
                  aria-label=${say('back')}
                  @click=${() => this.dispatchEvent(new CustomEvent('back'))}
                >
                  ${icons.back}
                </button>`
              : nothing
          }
          <h2 id="heading">${this.heading}</h2>
          <button class="round close" aria-label=${say('close')} @click=${this.close}>${icons.close}</button>
        </header>
        <div class="content"><slot></slot></div>
      </dialog>
    `;
  }
}
