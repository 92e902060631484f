/** Within the thumb's reach: the answer, what to look for, and the controls; or a lesson in their place. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import { say } from '../i18n/speech.ts';
import type { Mode } from '../store/settings.ts';
import './answer.ts';
import type { AnswerCard } from './answer.ts';
import { kindOf } from './collection.ts';
import './controls.ts';
import { icons } from './icons.ts';
import type { Lesson } from './lesson.ts';
import './lesson-view.ts';
import './modes.ts';
import type { Session } from './session.ts';
import { download, stillFile } from './still.ts';
import { base, buttons } from './styles.ts';
import { Watch } from './watch.ts';

@customElement('pocket-panel')
export class Panel extends LitElement {
  static override styles = [
    base,
    buttons,
    css`
      :host {
        display: flex;
        flex-direction: column;
        gap: 0.875rem;
      }
      .things {
        display: flex;
        flex-wrap: wrap;
        gap: 0.5rem;
        margin-top: 0.75rem;
      }
      .things .pill {
        flex: 1 1 auto;
      }
      :host([roomy]) {
        gap: 1.25rem;
      }
      :host([roomy]) .answer {
        flex: 1 0 auto;
      }
      @media (orientation: landscape) and (max-height: 34.99rem) {
        :host {
          gap: 0.5rem;
          justify-content: space-between;
        }
      }
    `,
  ];

  @property({ attribute: false }) session!: Session;
  /** A large screen: all guesses are always there. */
  @property({ type: Boolean, reflect: true }) roomy = false;
  /** The other guesses are shown. */
  @state() private unfolded = false;
  @query('pocket-answer') private card!: AnswerCard | null;

  constructor() {
    super();
    new Watch(this, () => {
      const { settings, looking } = this.session;
      return [settings, looking.reading, looking.still, looking.lesson, looking.camera.state];
    });
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.session.looking.drawn = async () => {
      await this.updateComplete;
      await this.card?.updateComplete;
    };
  }

  /** Whether the picture makes room for it: the camera's does while it is folded, a photo always. */
  get displaces(): boolean {
    const still = this.session.looking.still.value;
    return still ? still.fit === 'contain' : !this.unfolded;
  }

  /** Freeze the picture, or go back to the camera. */
  async shutter(): Promise<void> {
    const { looking, settings } = this.session;
    if (settings.value.haptics) navigator.vibrate?.(8);
    if (looking.still.value) {
      this.unfolded = false;
      looking.thaw();
    } else {
      await looking.freeze();
      this.unfolded = looking.still.value !== null;
    }
  }

  private tell(name: 'collection' | 'notice', detail?: string): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  private choose({ detail: mode }: CustomEvent<Mode>): void {
    if (mode === 'text') this.tell('notice', say('textSoon'));
    else if (mode !== this.session.settings.value.mode) void this.session.enter(mode);
  }

  private async photo({ detail: file }: CustomEvent<File>): Promise<void> {
    if (await this.session.looking.openPhoto(file)) this.unfolded = true;
    else this.tell('notice', say('photoUnreadable'));
  }

  private async save(): Promise<void> {
    const still = this.session.looking.still.value;
    if (still) download(await stillFile(still));
  }

  private async flip(): Promise<void> {
    this.session.settings.change({ camera: await this.session.looking.camera.next() });
  }

  override render() {
    const lesson = this.session.looking.lesson.value;
    return lesson ? this.teaching(lesson) : this.answering();
  }

  private answering() {
    const { settings, looking } = this.session;
    const { mode } = settings.value;
    const camera = looking.camera.state.value;
    return html`
      <div class="answer">
        <pocket-answer
          .reading=${looking.reading.value}
          .mode=${mode}
          ?expanded=${this.unfolded || this.roomy}
          .foldable=${!this.roomy}
          @fold=${() => (this.unfolded = !this.unfolded)}
        ></pocket-answer>
        ${kindOf(mode) ? this.things(camera.kind === 'live') : nothing}
      </div>
      <pocket-modes .mode=${mode} @choose=${this.choose}></pocket-modes>
      <pocket-controls
        ?still=${looking.still.value !== null}
        ?ready=${camera.kind === 'live'}
        ?switchable=${camera.kind === 'live' && camera.cameras > 1}
        @shutter=${this.shutter}
        @photo=${this.photo}
        @flip=${this.flip}
        @save=${this.save}
      ></pocket-controls>
    `;
  }

  private things(live: boolean) {
    return html`<div class="things">
      <button class="pill" ?disabled=${!live} @click=${() => this.session.looking.teach()}>
        ${icons.plus} ${say('teach')}
      </button>
      <button class="pill" @click=${() => this.tell('collection')}>${icons.collection} ${say('myThings')}</button>
    </div>`;
  }

  private teaching(lesson: Lesson) {
    return html`<pocket-lesson
      .lesson=${lesson}
      .kind=${kindOf(this.session.settings.value.mode) ?? 'products'}
      @keep=${({ detail: label }: CustomEvent<string>) => void this.session.endLesson(label)}
      @cancel=${() => void this.session.endLesson(null)}
    ></pocket-lesson>`;
  }
}
