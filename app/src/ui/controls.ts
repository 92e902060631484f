/** Under the thumb: album, shutter, and the other camera or one's own things. */
import { css, html, LitElement } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { say } from '../i18n/speech.ts';
import { icons } from './icons.ts';
import { base, buttons } from './styles.ts';
import { Watch } from './watch.ts';

@customElement('pocket-controls')
export class Controls extends LitElement {
  static override styles = [
    base,
    buttons,
    css`
      .line {
        display: grid;
        grid-template-columns: 1fr auto 1fr;
        align-items: center;
        justify-items: center;
      }
      .round {
        width: min(3.25rem, 72px);
        height: min(3.25rem, 72px);
        background: var(--raised);
      }
      .shutter {
        position: relative;
        width: min(4.5rem, 96px);
        height: min(4.5rem, 96px);
        border-radius: 50%;
        border: 0.25rem solid var(--ink);
        padding: 0.25rem;
        background: none;
      }
      .shutter i {
        display: grid;
        place-items: center;
        width: 100%;
        height: 100%;
        border-radius: 50%;
        background: var(--ink);
        color: var(--surface);
        transition: background-color var(--quick);
      }
      .shutter.still {
        border-color: var(--accent);
      }
      .shutter.still i {
        background: var(--accent);
        color: var(--on-accent);
      }
      input {
        display: none;
      }
      @media (orientation: landscape) and (max-height: 34.99rem) {
        .shutter {
          width: 3.75rem;
          height: 3.75rem;
        }
      }
    `,
  ];

  /** A still picture is on the stage. */
  @property({ type: Boolean }) still = false;
  /** The camera runs. */
  @property({ type: Boolean }) ready = false;
  /** There is another camera to switch to. */
  @property({ type: Boolean }) switchable = false;

  constructor() {
    super();
    new Watch(this);
  }

  private tell(name: 'shutter' | 'flip' | 'save'): void {
    this.dispatchEvent(new CustomEvent(name));
  }

  private pick(event: Event): void {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    // So that the same photo can be picked again.
    input.value = '';
    if (file) this.dispatchEvent(new CustomEvent<File>('photo', { detail: file }));
  }

  override render() {
    return html`
      <div class="line">
        <button
          class="round"
          aria-label=${say('album')}
          @click=${() => this.renderRoot.querySelector<HTMLInputElement>('input')?.click()}
        >
          ${icons.album}
        </button>
        <input type="file" accept="image/*" aria-label=${say('album')} tabindex="-1" @change=${this.pick} />
        <button
          class="shutter ${this.still ? 'still' : ''}"
          aria-label=${say(this.still ? 'backToCamera' : 'freeze')}
          ?disabled=${!this.still && !this.ready}
          @click=${() => this.tell('shutter')}
        >
          <i>${this.still ? icons.close : ''}</i>
        </button>
        ${
          this.still
            ? html`<button class="round" aria-label=${say('savePhoto')} @click=${() => this.tell('save')}>
                ${icons.into}
              </button>`
            : html`<button
                class="round"
                aria-label=${say('switchCamera')}
                ?disabled=${!this.switchable}
                @click=${() => this.tell('flip')}
              >
                ${icons.flip}
              </button>`
        }
      </div>
    `;
  }
}
