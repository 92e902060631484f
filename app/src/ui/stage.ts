/** The picture: the camera's or a still one, with the viewfinder over it. A tap chooses what to look at. */
import { css, html, LitElement, type PropertyValues } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import type { Region } from '../engine/protocol.ts';
import { say } from '../i18n/speech.ts';
import { regionUnder, viewfinder, type Box, type Point } from './geometry.ts';
import { icons } from './icons.ts';
import type { Session } from './session.ts';
import { base, buttons } from './styles.ts';
import './viewfinder.ts';
import { Watch } from './watch.ts';

/** Room that the round buttons need above the viewfinder, and the zoom, where there is one, below. */
const BUTTONS = 72;
const EDGE = 20;
/** How far a key moves it. */
const STEP = 40;

@customElement('pocket-stage')
export class Stage extends LitElement {
  static override styles = [
    base,
    buttons,
    css`
      :host {
        position: relative;
        display: block;
        overflow: hidden;
        background: #0a0e0f;
        color-scheme: dark;
      }
      video,
      canvas {
        position: absolute;
        inset: 0;
        width: 100%;
        height: 100%;
        object-fit: cover;
      }
      canvas.contain {
        height: calc(100% - var(--covered));
        object-fit: contain;
        background: #0a0e0f;
      }
      .area {
        position: absolute;
        inset: 0;
        touch-action: manipulation;
        cursor: crosshair;
      }
      .centre {
        position: absolute;
        inset-inline-end: calc(0.75rem + env(safe-area-inset-right));
        top: calc(4.25rem + env(safe-area-inset-top));
      }
    `,
  ];

  @property({ attribute: false }) session!: Session;
  /** Pixels at the lower edge that lie under the sheet. */
  @property({ type: Number }) covered = 0;
  @property({ type: Boolean }) bare = false;
  @state() private size: Box = { width: 0, height: 0 };
  @state() private chosen: Point | null = null;
  @query('canvas') private canvas!: HTMLCanvasElement | null;
  private readonly resized = new ResizeObserver(([entry]) => {
    if (!entry) return;
    const { width, height } = entry.contentRect;
    // Turned: the point that was chosen lies elsewhere now.
    if (width > height !== this.size.width > this.size.height) this.chosen = null;
    this.size = { width, height };
  });

  constructor() {
    super();
    new Watch(this, () => [
      this.session.looking.still,
      this.session.looking.reading,
      this.session.looking.camera.state,
    ]);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.resized.observe(this);
    this.session.looking.regionOf = (frame) => this.regionOf(frame);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.resized.disconnect();
  }

  private get square() {
    const { width, height } = this.size;
    const camera = this.session.looking.camera.state.value;
    const below = camera.kind === 'live' && camera.lens.zoom ? BUTTONS : EDGE;
    const free = { x: EDGE, y: BUTTONS, width: width - 2 * EDGE, height: height - this.covered - BUTTONS - below };
    // Very large text leaves little; the square then reaches under the buttons rather than vanish.
    const room = free.height < 96 ? { ...free, y: 8, height: Math.max(96, height - this.covered - 16) } : free;
    return viewfinder(room, this.chosen);
  }

  private regionOf(frame: Box): Region | null {
    if (this.size.width === 0) return null;
    const fit = this.session.looking.still.value?.fit ?? 'cover';
    const { width, height } = this.size;
    return regionUnder(this.square, { width, height: fit === 'contain' ? height - this.covered : height }, frame, fit);
  }

  private choose(event: PointerEvent): void {
    if (event.detail > 1) return this.recentre();
    const { left, top } = this.getBoundingClientRect();
    this.chosen = { x: event.clientX - left, y: event.clientY - top };
    void this.session.looking.moved();
  }

  /** Move the viewfinder by a step, for those who use keys. */
  nudge({ x, y }: Point): void {
    const square = this.square;
    const centre = { x: square.x + square.side / 2, y: square.y + square.side / 2 };
    this.chosen = { x: centre.x + x * STEP, y: centre.y + y * STEP };
    void this.session.looking.moved();
  }

  private recentre(): void {
    this.chosen = null;
    void this.session.looking.moved();
  }

  protected override willUpdate(): void {
    this.style.setProperty('--covered', `${this.covered}px`);
  }

  override updated(changed: PropertyValues): void {
    super.updated(changed);
    const still = this.session.looking.still.value;
    // A photo made room for the panel: other pixels lie under the viewfinder.
    if (changed.has('covered') && still?.fit === 'contain') void this.session.looking.moved();
    if (!still || !this.canvas || this.canvas.dataset.drawn === String(still.id)) return;
    this.canvas.dataset.drawn = String(still.id);
    this.canvas.width = still.bitmap.width;
    this.canvas.height = still.bitmap.height;
    this.canvas.getContext('2d')?.drawImage(still.bitmap, 0, 0);
    this.chosen = null;
  }

  override render() {
    const { still, reading, video } = this.session.looking;
    return html`
      ${video}
      ${still.value ? html`<canvas class=${still.value.fit} role="img" aria-label=${say('stillPicture')}></canvas>` : ''}
      <div class="area" @click=${this.choose}></div>
      ${
        this.bare
          ? ''
          : html`<pocket-viewfinder .square=${this.square} .sure=${reading.value.kind === 'known'}></pocket-viewfinder>`
      }
      ${
        this.chosen
          ? html`<button class="round glass centre" aria-label=${say('recentre')} @click=${this.recentre}>
              ${icons.centre}
            </button>`
          : ''
      }
      <slot></slot>
    `;
  }
}
