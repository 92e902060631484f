/** The main page: the picture, the panel under or beside it, and the sheets over both. */
import { html, LitElement, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import { confidence, say } from '../i18n/speech.ts';
import { applyUpdate, checkDaily, onUpdate } from '../install/update.ts';
import { Announcer } from './announcer.ts';
import { Awake } from './awake.ts';
import './camera-message.ts';
import { kindOf } from './collection.ts';
import './galleries.ts';
import type { Point } from './geometry.ts';
import { icons, mark } from './icons.ts';
import './panel.ts';
import type { Panel } from './panel.ts';
import { capital, type Reading } from './reading.ts';
import type { Session } from './session.ts';
import './settings-sheet.ts';
import './stage.ts';
import type { Stage } from './stage.ts';
import { base, buttons } from './styles.ts';
import './toast.ts';
import { viewerStyles } from './viewer-styles.ts';
import { Watch } from './watch.ts';
import './zoom.ts';

const TOAST_MS = 6000;

const ARROWS: Record<string, Point> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};

@customElement('pocket-viewer')
export class Viewer extends LitElement {
  static override styles = [base, buttons, viewerStyles];

  @property({ attribute: false }) session!: Session;
  @state() private sheet: 'settings' | 'galleries' | null = null;
  /** Pixels of the picture that the panel covers, as the picture takes them into account. */
  @state() private covered = 0;
  @state() private toast = '';
  @state() private updateReady = false;
  /** What a screen reader says. */
  @state() private said = '';
  @query('.sheet') private lower!: HTMLElement;
  @query('pocket-panel') private panel!: Panel;
  @query('pocket-stage') private stage!: Stage;
  private readonly awake = new Awake();
  private readonly wide = matchMedia('(min-width: 56rem) and (min-height: 35rem)');
  private readonly resized = new ResizeObserver(() => this.measure());
  private readonly announcer = new Announcer((reading) => this.announce(reading));
  private ends: (() => void)[] = [];

  constructor() {
    super();
    new Watch(this, () => {
      const { phase, settings, looking } = this.session;
      return [phase, settings, looking.still, looking.camera.state];
    });
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const { looking, settings } = this.session;
    const redraw = () => this.requestUpdate();
    const key = (event: KeyboardEvent) => this.key(event);
    this.wide.addEventListener('change', redraw);
    window.addEventListener('keydown', key);
    this.ends = [
      looking.reading.subscribe((reading) => this.announcer.hear(reading)),
      looking.camera.state.subscribe(() => this.stayAwake()),
      settings.subscribe(() => this.stayAwake()),
      onUpdate(() => (this.updateReady = true)),
      () => this.wide.removeEventListener('change', redraw),
      () => window.removeEventListener('keydown', key),
    ];
    if (settings.value.cameraAgreed && looking.camera.state.value.kind === 'off') void this.startCamera();
    void checkDaily();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const end of this.ends) end();
    this.resized.disconnect();
  }

  protected override firstUpdated(): void {
    this.resized.observe(this.lower);
  }

  private measure(): void {
    if (!this.panel.displaces) return;
    const over = getComputedStyle(this.lower).getPropertyValue('--over').trim() === '1';
    this.covered = over ? this.lower.offsetHeight : 0;
  }

  private async startCamera(): Promise<void> {
    this.session.settings.change({ cameraAgreed: true });
    await this.session.looking.camera.start(this.session.settings.value.camera);
  }

  private stayAwake(): void {
    const live = this.session.looking.camera.state.value.kind === 'live';
    void this.awake.keep(this.session.settings.value.keepAwake && live);
  }

  private announce(reading: Reading): void {
    const [answer] = reading.kind === 'known' ? reading.candidates : [];
    if (answer && this.session.settings.value.haptics) navigator.vibrate?.(12);
    if (answer) this.said = `${capital(answer.label)}, ${confidence(answer.score)}`;
    else if (reading.kind === 'unknown') this.said = say('unknown');
  }

  private notify(words: string): void {
    this.toast = words;
    setTimeout(() => this.toast === words && (this.toast = ''), TOAST_MS);
  }

  private key(event: KeyboardEvent): void {
    if (this.sheet || event.ctrlKey || event.metaKey || event.altKey) return;
    const within = event.composedPath();
    const typing = within.some((at) => at instanceof HTMLInputElement);
    if (event.key === 'Escape' && !typing && this.session.looking.still.value) return void this.panel.shutter();
    // A button that has the focus is pressed by the space bar itself.
    if (typing || within.some((at) => at instanceof HTMLButtonElement)) return;
    if (event.key === ' ') {
      event.preventDefault();
      void this.panel.shutter();
    } else if (event.key in ARROWS) this.stage.nudge(ARROWS[event.key]!);
  }

  private async acceptUpdate(): Promise<void> {
    this.updateReady = false;
    this.toast = say('updating');
    await applyUpdate().catch(() => this.notify(say('updateFailed')));
  }

  private dismiss(): void {
    if (this.updateReady) this.updateReady = false;
    else this.toast = '';
  }

  override render() {
    const { looking } = this.session;
    const camera = looking.camera.state.value;
    const still = looking.still.value !== null;
    const bare = !still && (camera.kind !== 'live' || camera.still);
    return html`
      <main>
        <h1 class="visually-hidden">pocketlens</h1>
        <pocket-stage .session=${this.session} .covered=${this.covered} ?bare=${bare}>
          <div class="top">
            ${
              camera.kind === 'live' && camera.lens.torch && !still
                ? html`<button
                    class="round glass"
                    aria-label=${say('torch')}
                    aria-pressed=${camera.torch}
                    @click=${() => void looking.camera.setTorch(!camera.torch)}
                  >
                    ${icons.torch}
                  </button>`
                : html`<span class="mark">${mark}</span>`
            }
            ${this.settingsButton('glass narrow')}
          </div>
          ${
            still
              ? nothing
              : html`<pocket-camera-message
                    .camera=${camera}
                    ?asking=${!this.session.settings.value.cameraAgreed}
                    @start=${this.startCamera}
                  ></pocket-camera-message>
                  <pocket-zoom
                    .camera=${camera}
                    @zoom=${({ detail }: CustomEvent<number>) => void looking.camera.setZoom(detail)}
                  ></pocket-zoom>`
          }
        </pocket-stage>
        <section class="sheet" aria-label=${say('answer')}>
          <div class="brand"><span class="mark">${mark}</span> pocketlens ${this.settingsButton('wide')}</div>
          <pocket-panel
            .session=${this.session}
            ?roomy=${this.wide.matches}
            @collection=${() => (this.sheet = 'galleries')}
            @notice=${({ detail: words }: CustomEvent<string>) => this.notify(words)}
          ></pocket-panel>
          <p class="private">${icons.lock} ${say('nothingLeaves')}</p>
        </section>
      </main>
      <div class="toasts">
        <pocket-toast
          .words=${this.updateReady ? say('updateThere') : this.session.phase.value.kind === 'racing' ? say('racing') : this.toast}
          .action=${this.updateReady ? say('updateNow') : null}
          @act=${this.acceptUpdate}
          @close=${this.dismiss}
        ></pocket-toast>
      </div>
      <div class="visually-hidden" role="status" aria-live="polite">${this.said}</div>
      ${this.openSheet()}
    `;
  }

  private settingsButton(looks: string) {
    return html`<button class="round ${looks}" aria-label=${say('settings')} @click=${() => (this.sheet = 'settings')}>
      ${icons.settings}
    </button>`;
  }

  private openSheet() {
    const close = () => (this.sheet = null);
    if (this.sheet === 'settings') {
      return html`<pocket-settings .session=${this.session} @close=${close}></pocket-settings>`;
    }
    const kind = kindOf(this.session.settings.value.mode);
    return this.sheet === 'galleries' && kind
      ? html`<pocket-galleries .session=${this.session} .kind=${kind} @close=${close}></pocket-galleries>`
      : nothing;
  }
}
