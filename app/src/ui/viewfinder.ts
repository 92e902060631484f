/** The square that is looked at: soft corners over a calm picture. Moves; never flashes. */
import { css, html, LitElement } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { Square } from './geometry.ts';
import { properties } from './properties.ts';
import { base } from './styles.ts';

const CORNERS =
  'M0 19V11A11 11 0 0 1 11 0h8M81 0h8a11 11 0 0 1 11 11v8M100 81v8a11 11 0 0 1-11 11h-8M19 100h-8A11 11 0 0 1 0 89v-8';

@customElement('pocket-viewfinder')
export class Viewfinder extends LitElement {
  static override styles = [
    base,
    css`
      :host {
        position: absolute;
        inset: 0;
        overflow: hidden;
        pointer-events: none;
      }
      .square {
        position: absolute;
        left: var(--x);
        top: var(--y);
        width: var(--side);
        height: var(--side);
        transition:
          left var(--calm),
          top var(--calm),
          width var(--calm),
          height var(--calm);
      }
      /* All but the square, a little darker: a border so wide that it reaches past every edge. A shadow's hole would
         have sharp corners in Chromium. */
      .square::before {
        content: '';
        position: absolute;
        inset: -100vmax;
        border: 100vmax solid rgb(6 10 11 / 0.3);
        border-radius: calc(100vmax + var(--side) * 0.11);
      }
      svg {
        position: relative;
        width: 100%;
        height: 100%;
        overflow: visible;
        color: #fff;
        transition: color 400ms;
      }
      .sure svg {
        color: #7df0da;
      }
    `,
  ];

  @property({ attribute: false }) square: Square = { x: 0, y: 0, side: 0 };
  /** An answer has settled. */
  @property({ type: Boolean }) sure = false;

  override render() {
    const { x, y, side } = this.square;
    return html`
      <div
        class="square ${this.sure ? 'sure' : ''}"
        ${properties({ '--x': `${x}px`, '--y': `${y}px`, '--side': `${side}px` })}
      >
        <svg viewBox="0 0 100 100" fill="none" stroke-linecap="round" aria-hidden="true">
          <path
            d=${CORNERS}
            stroke="#060a0b"
            stroke-opacity="0.3"
            stroke-width="6"
            vector-effect="non-scaling-stroke"
          />
          <path d=${CORNERS} stroke="currentColor" stroke-width="3.5" vector-effect="non-scaling-stroke" />
        </svg>
      </div>
    `;
  }
}
