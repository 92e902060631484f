/** The main page: the picture, the answer under it, and the controls within the thumb's reach. */
import { html, LitElement, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import { confidence, say } from '../i18n/speech.ts';
import { applyUpdate, checkDaily, onUpdate } from '../install/update.ts';
import type { Mode } from '../store/settings.ts';
import { Announcer } from './announcer.ts';
import './answer.ts';
import type { AnswerCard } from './answer.ts';
import { Awake } from './awake.ts';
import './camera-message.ts';
import { kindOf } from './collection.ts';
import './controls.ts';
import './galleries.ts';
import { icons, mark } from './icons.ts';
import type { Lesson } from './lesson.ts';
import './lesson-view.ts';
import './modes.ts';
import type { Reading } from './reading.ts';
import type { Session } from './session.ts';
import './settings-sheet.ts';
import './stage.ts';
import { download, stillFile } from './still.ts';
import { base, buttons } from './styles.ts';
import './toast.ts';
import { viewerStyles } from './viewer-styles.ts';
import { Watch } from './watch.ts';
import './zoom.ts';

type OpenSheet = 'settings' | 'galleries' | null;

const TOAST_MS = 6000;

@customElement('pocket-viewer')
export class Viewer extends LitElement {
  static override styles = [base, buttons, viewerStyles];

  @property({ attribute: false }) session!: Session;
  @state() private sheet: OpenSheet = null;
  @state() private unfolded = false;
  @state() private covered = 0;
  @state() private toast = '';
  @state() private updateReady = false;
  @state() private said = '';
  @query('pocket-answer') private card!: AnswerCard;
  @query('.panel') private panel!: HTMLElement;
  private readonly awake = new Awake();
  private readonly wide = matchMedia('(min-width: 56rem) and (min-height: 35rem)');
  private readonly resized = new ResizeObserver(() => this.measure());
  private readonly announcer = new Announcer((reading) => this.announce(reading));
  private ends: (() => void)[] = [];

  constructor() {
    super();
    new Watch(this, () => {
      const { reading, still, phase, settings, camera, lesson } = this.session;
      return [reading, still, phase, settings, camera.state, lesson];
    });
  }

  override connectedCallback(): void {
    super.connectedCallback();
    const { session } = this;
    session.drawn = async () => {
      await this.updateComplete;
      await this.card.updateComplete;
    };
    const redraw = () => this.requestUpdate();
    const key = (event: KeyboardEvent) => this.key(event);
    this.wide.addEventListener('change', redraw);
    window.addEventListener('keydown', key);
    this.ends = [
      session.reading.subscribe((reading) => this.announcer.hear(reading)),
      session.camera.state.subscribe(() => this.stayAwake()),
      session.settings.subscribe(() => this.stayAwake()),
      onUpdate(() => (this.updateReady = true)),
      () => this.wide.removeEventListener('change', redraw),
      () => window.removeEventListener('keydown', key),
    ];
    if (session.settings.value.cameraAgreed) void this.startCamera();
    void checkDaily();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const end of this.ends) end();
    this.resized.disconnect();
  }

  protected override firstUpdated(): void {
    this.resized.observe(this.panel);
  }

  /** The sheet's height, as long as it is folded: what it covers when unfolded is only covered for a moment. */
  private measure(): void {
    if (this.unfolded || this.session.still.value) return;
    const over = getComputedStyle(this.panel).getPropertyValue('--over').trim() === '1';
    this.covered = over ? this.panel.offsetHeight : 0;
  }

  private async startCamera(): Promise<void> {
    this.session.settings.change({ cameraAgreed: true });
    await this.session.camera.start(this.session.settings.value.camera);
  }

  private stayAwake(): void {
    void this.awake.keep(this.session.settings.value.keepAwake && this.session.camera.state.value.kind === 'live');
  }

  private announce(reading: Reading): void {
    if (reading.kind === 'known') {
      const [answer] = reading.candidates;
      if (answer) this.said = `${answer.label}, ${confidence(answer.score)}`;
      if (this.session.settings.value.haptics) navigator.vibrate?.(12);
    } else if (reading.kind === 'unknown') this.said = say('unknown');
  }

  private notify(words: string): void {
    this.toast = words;
    setTimeout(() => this.toast === words && (this.toast = ''), TOAST_MS);
  }

  private key(event: KeyboardEvent): void {
    const busy = this.sheet !== null || event.composedPath().some((at) => at instanceof HTMLButtonElement);
    if (busy || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === ' ') {
      event.preventDefault();
      void this.shutter();
    } else if (event.key === 'Escape' && this.session.still.value) this.session.thaw();
  }

  private choose({ detail: mode }: CustomEvent<Mode>): void {
    this.toast = '';
    if (mode === 'text') this.notify(say('textSoon'));
    else if (mode !== this.session.settings.value.mode) void this.session.enter(mode);
  }

  private async shutter(): Promise<void> {
    if (this.session.settings.value.haptics) navigator.vibrate?.(8);
    if (this.session.still.value) {
      this.unfolded = false;
      this.session.thaw();
    } else {
      await this.session.freeze();
      this.unfolded = true;
    }
  }

  private async photo({ detail: file }: CustomEvent<File>): Promise<void> {
    if (await this.session.openPhoto(file)) this.unfolded = true;
    else this.notify(say('photoUnreadable'));
  }

  private async save(): Promise<void> {
    const still = this.session.still.value;
    if (still) download(await stillFile(still));
  }

  private async flip(): Promise<void> {
    this.session.settings.change({ camera: await this.session.camera.next() });
  }

  private async acceptUpdate(): Promise<void> {
    this.updateReady = false;
    this.toast = say('updating');
    await applyUpdate().catch(() => this.notify(say('updateFailed')));
  }

  private close = (): void => {
    this.sheet = null;
  };

  override render() {
    const { session } = this;
    const camera = session.camera.state.value;
    const still = session.still.value !== null;
    const { cameraAgreed } = session.settings.value;
    const picture = still || (camera.kind === 'live' && !camera.still);
    return html`
      <main>
        <pocket-stage .session=${session} .covered=${this.covered} ?bare=${!picture}>
          <div class="top">
            ${
              camera.kind === 'live' && camera.lens.torch && !still
                ? html`<button
                    class="round glass"
                    aria-label=${say('torch')}
                    aria-pressed=${camera.torch}
                    @click=${() => void session.camera.setTorch(!camera.torch)}
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
                  ?asking=${!cameraAgreed}
                  @start=${() => void this.startCamera()}
                ></pocket-camera-message>`
          }
          <pocket-zoom
            .camera=${still ? { kind: 'off' } : camera}
            @zoom=${({ detail }: CustomEvent<number>) => void session.camera.setZoom(detail)}
          ></pocket-zoom>
        </pocket-stage>
        <section class="panel" aria-label=${say('answer')}>
          <div class="brand"><span class="mark">${mark}</span> pocketlens ${this.settingsButton('wide')}</div>
          ${session.lesson.value ? this.teaching(session.lesson.value) : this.looking(still)}
          <p class="private">${icons.lock} ${say('nothingLeaves')}</p>
        </section>
      </main>
      <div class="toasts">
        <pocket-toast
          .words=${this.updateReady ? say('updateThere') : this.toast}
          .action=${this.updateReady ? say('updateNow') : null}
          @act=${this.acceptUpdate}
          @close=${() => (this.updateReady ? (this.updateReady = false) : (this.toast = ''))}
        ></pocket-toast>
      </div>
      <div class="visually-hidden" role="status" aria-live="polite">${this.said}</div>
      ${this.openSheet()}
    `;
  }

  private looking(still: boolean) {
    const { session } = this;
    const camera = session.camera.state.value;
    const { mode } = session.settings.value;
    return html`
      <div class="answer">
        <pocket-answer
          .reading=${session.reading.value}
          .mode=${mode}
          ?expanded=${this.unfolded || this.wide.matches}
          .foldable=${!this.wide.matches}
          @fold=${() => (this.unfolded = !this.unfolded)}
        ></pocket-answer>
        ${kindOf(mode) ? this.collectionButtons() : nothing}
      </div>
      <pocket-modes .mode=${mode} @choose=${this.choose}></pocket-modes>
      <pocket-controls
        ?still=${still}
        ?ready=${camera.kind === 'live'}
        ?switchable=${camera.kind === 'live' && camera.cameras > 1}
        @shutter=${this.shutter}
        @photo=${this.photo}
        @flip=${this.flip}
        @save=${this.save}
      ></pocket-controls>
    `;
  }

  private teaching(lesson: Lesson) {
    return html`<pocket-lesson
      .lesson=${lesson}
      .kind=${kindOf(this.session.settings.value.mode) ?? 'products'}
      @keep=${({ detail: label }: CustomEvent<string>) => void this.session.endLesson(label)}
      @cancel=${() => void this.session.endLesson(null)}
    ></pocket-lesson>`;
  }

  private settingsButton(looks: string) {
    return html`<button class="round ${looks}" aria-label=${say('settings')} @click=${() => (this.sheet = 'settings')}>
      ${icons.settings}
    </button>`;
  }

  private collectionButtons() {
    const live = this.session.camera.state.value.kind === 'live';
    return html`<div class="things">
      <button class="pill" ?disabled=${!live} @click=${() => this.session.teach()}>
        ${icons.plus} ${say('teach')}
      </button>
      <button class="pill" @click=${() => (this.sheet = 'galleries')}>${icons.collection} ${say('myThings')}</button>
    </div>`;
  }

  private openSheet() {
    const { session } = this;
    switch (this.sheet) {
      case 'settings':
        return html`<pocket-settings .session=${session} @close=${this.close}></pocket-settings>`;
      case 'galleries':
        return html`<pocket-galleries
          .session=${session}
          .kind=${kindOf(session.settings.value.mode) ?? 'products'}
          @close=${this.close}
        ></pocket-galleries>`;
      case null:
        return nothing;
    }
  }
}
