/** In place of the picture, while there is none: the camera is asked for, or why it is not there and the way out. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { CameraState } from '../camera/camera.ts';
import type { Trouble } from '../camera/trouble.ts';
import { say, type Key } from '../i18n/speech.ts';
import { icons } from './icons.ts';
import { base, buttons } from './styles.ts';
import { Watch } from './watch.ts';

const WORDS: Record<Trouble, { title: Key; way: Key }> = {
  refused: { title: 'cameraRefused', way: 'cameraRefusedWay' },
  none: { title: 'cameraNone', way: 'cameraNoneWay' },
  busy: { title: 'cameraBusy', way: 'cameraBusyWay' },
  insecure: { title: 'cameraInsecure', way: 'cameraInsecureWay' },
  stopped: { title: 'cameraStopped', way: 'cameraStoppedWay' },
};

@customElement('pocket-camera-message')
export class CameraMessage extends LitElement {
  static override styles = [
    base,
    buttons,
    css`
      :host {
        position: absolute;
        inset: 0 0 var(--covered, 0) 0;
        display: grid;
        place-items: center;
        padding: calc(4.5rem + env(safe-area-inset-top)) 2rem 1.5rem;
        overflow-y: auto;
        pointer-events: none;
        color: #f1f5f4;
        text-align: center;
      }
      .message {
        max-width: 24rem;
        pointer-events: auto;
      }
      .badge {
        display: grid;
        place-items: center;
        width: 4.5rem;
        height: 4.5rem;
        margin: 0 auto 1.25rem;
        border-radius: 50%;
        background: rgb(255 255 255 / 0.1);
      }
      .badge svg {
        width: 2rem;
        height: 2rem;
      }
      h2 {
        font-size: 1.375rem;
        line-height: 1.25;
        letter-spacing: -0.015em;
        text-wrap: balance;
      }
      p {
        margin-top: 0.625rem;
        color: #b9c3c5;
        text-wrap: pretty;
      }
      .pill {
        margin-top: 1.5rem;
        background: #f1f5f4;
        color: #12181a;
      }
    `,
  ];

  @property({ attribute: false }) camera!: CameraState;
  /** The person has not agreed to the camera yet. */
  @property({ type: Boolean }) asking = false;

  constructor() {
    super();
    new Watch(this);
  }

  override render() {
    const { camera } = this;
    if (camera.kind === 'failed') {
      const { title, way } = WORDS[camera.trouble];
      const hopeless = camera.trouble === 'insecure';
      return this.message(icons.noCamera, title, way, hopeless ? null : 'tryAgain');
    }
    if (camera.kind === 'elsewhere')
      return this.message(icons.camera, 'cameraElsewhere', 'cameraElsewhereWay', 'useHere');
    if (camera.kind === 'off' && this.asking)
      return this.message(icons.lock, 'cameraAsk', 'cameraAskWay', 'cameraStart');
    if (camera.kind === 'live' && camera.still)
      return this.message(icons.noCamera, 'cameraPaused', 'cameraPausedWay', null);
    return nothing;
  }

  private message(icon: unknown, title: Key, way: Key, action: Key | null) {
    return html`
      <div class="message" role=${this.asking ? nothing : 'alert'}>
        <div class="badge">${icon}</div>
        <h2>${say(title)}</h2>
        <p>${say(way)}</p>
        ${
          action
            ? html`<button class="pill" @click=${() => this.dispatchEvent(new CustomEvent('start'))}>
                ${say(action)}
              </button>`
            : nothing
        }
      </div>
    `;
  }
}
