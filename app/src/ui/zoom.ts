/** Zoom over the picture, where the camera has it. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { number, say } from '../i18n/speech.ts';
import type { CameraState } from '../camera/camera.ts';
import { base, buttons } from './styles.ts';
import { Watch } from './watch.ts';

@customElement('pocket-zoom')
export class Zoom extends LitElement {
  static override styles = [
    base,
    buttons,
    css`
      .stops {
        display: flex;
        gap: 0.125rem;
        padding: 0.125rem;
        border-radius: 2rem;
      }
      button {
        font-size: 0.875rem;
        font-weight: 600;
        font-variant-numeric: tabular-nums;
        padding: 0;
        border-radius: 50%;
      }
      [aria-pressed='true'] {
        background: rgb(255 255 255 / 0.22);
      }
    `,
  ];

  @property({ attribute: false }) camera!: CameraState;

  constructor() {
    super();
    new Watch(this);
  }

  override render() {
    if (this.camera.kind !== 'live' || !this.camera.lens.zoom) return nothing;
    const { lens, zoom } = this.camera;
    return html`<div class="stops glass" role="group" aria-label=${say('zoom')}>
      ${stops(lens.zoom!).map(
        (stop) =>
          html`<button
            aria-pressed=${Math.abs(stop - zoom) < 0.05}
            @click=${() => this.dispatchEvent(new CustomEvent<number>('zoom', { detail: stop }))}
          >
            ${number(stop, stop % 1 === 0 ? 0 : 1)}×
          </button>`,
      )}
    </div>`;
  }
}

/** The steps that a thumb wants, of those the camera has: at most four. */
export function stops({ min, max }: { min: number; max: number }): number[] {
  return [...new Set([min, 1, 2, 5])].filter((stop) => stop >= min && stop <= max).sort((a, b) => a - b);
}
