/** Teaching in the panel, below the live picture: shots from several sides, a name, done. */
import { css, html, LitElement, nothing, type PropertyValues } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { say, sayCount, type Key } from '../i18n/speech.ts';
import { icons } from './icons.ts';
import { FEWEST_SHOTS, MOST_SHOTS, type Lesson, type Verdict } from './lesson.ts';
import { base, buttons, rows } from './styles.ts';
import { Watch } from './watch.ts';

const WORDS: Record<Verdict, Key> = {
  good: 'shotGood',
  'same-view': 'shotSameView',
  'other-thing': 'shotOtherThing',
  'no-frame': 'shotNoFrame',
};

@customElement('pocket-lesson')
export class LessonView extends LitElement {
  static override styles = [
    base,
    buttons,
    rows,
    css`
      :host {
        display: flex;
        flex-direction: column;
        gap: 0.75rem;
      }
      header {
        display: flex;
        align-items: center;
        gap: 0.5rem;
      }
      h2 {
        flex: 1;
        font-size: 1.25rem;
        letter-spacing: -0.015em;
      }
      ol {
        display: grid;
        grid-template-columns: repeat(8, 1fr);
        gap: 0.375rem;
      }
      li {
        aspect-ratio: 1;
        border-radius: 22%;
        border: 1.5px dashed var(--line);
        overflow: hidden;
      }
      li.needed {
        border-color: var(--muted);
      }
      li.taken {
        border: 0;
      }
      canvas {
        display: block;
        width: 100%;
        height: 100%;
      }
      .hint {
        min-height: 2.8em;
        color: var(--muted);
      }
      .hint.warn {
        color: var(--ink);
      }
      form {
        display: flex;
        flex-wrap: wrap;
        gap: 0.5rem;
      }
      input[type='text'] {
        flex: 1 1 11rem;
        min-width: 0;
        border-radius: 1.5rem;
        padding-inline: 1.25rem;
      }
      .line {
        display: grid;
        grid-template-columns: 1fr auto 1fr;
        place-items: center;
      }
      .line .round {
        background: var(--raised);
      }
      .shoot {
        width: min(4.5rem, 96px);
        height: min(4.5rem, 96px);
        border: 0.25rem solid var(--accent);
        border-radius: 50%;
        padding: 0.25rem;
      }
      .shoot i {
        display: grid;
        place-items: center;
        width: 100%;
        height: 100%;
        border-radius: 50%;
        background: var(--accent);
        color: var(--on-accent);
      }
    `,
  ];

  @property({ attribute: false }) lesson!: Lesson;
  @property() kind: 'products' | 'landmarks' = 'products';
  @state() private name = '';

  constructor() {
    super();
    new Watch(this, () => [this.lesson.state]);
  }

  protected override firstUpdated(): void {
    this.renderRoot.querySelector<HTMLElement>('.shoot')?.focus({ preventScroll: true });
  }

  protected override updated(changed: PropertyValues): void {
    super.updated(changed);
    const { thumbnails } = this.lesson.state.value;
    for (const [index, canvas] of [...this.renderRoot.querySelectorAll('canvas')].entries()) {
      const thumbnail = thumbnails[index];
      if (!thumbnail || canvas.dataset.drawn === 'yes') continue;
      canvas.dataset.drawn = 'yes';
      canvas.width = thumbnail.width;
      canvas.height = thumbnail.height;
      canvas.getContext('2d')?.drawImage(thumbnail, 0, 0);
    }
  }

  private tell(name: 'keep' | 'cancel'): void {
    this.dispatchEvent(new CustomEvent<string>(name, { detail: this.name.trim() }));
  }

  private submit(event: Event): void {
    event.preventDefault();
    if (this.done) this.tell('keep');
  }

  private get done(): boolean {
    return this.lesson.enough && this.name.trim() !== '';
  }

  override render() {
    const { thumbnails, verdict, busy } = this.lesson.state.value;
    const places = Array.from({ length: MOST_SHOTS }, (_, index) => index);
    return html`
      <header>
        <h2>${say(this.kind === 'products' ? 'teachProduct' : 'teachLandmark')}</h2>
        <button class="round" aria-label=${say('cancel')} @click=${() => this.tell('cancel')}>${icons.close}</button>
      </header>
      <ol aria-label=${sayCount('shots', thumbnails.length)}>
        ${places.map((index) =>
          index < thumbnails.length
            ? html`<li class="taken">
                <canvas role="img" aria-label=${say('shotNumber', { number: index + 1 })}></canvas>
              </li>`
            : html`<li class=${index < FEWEST_SHOTS ? 'needed' : ''} aria-hidden="true"></li>`,
        )}
      </ol>
      <p class="hint ${verdict && verdict !== 'good' ? 'warn' : ''}" role="status">${this.hint(verdict)}</p>
      <form @submit=${this.submit}>
        <input
          type="text"
          maxlength="80"
          autocomplete="off"
          enterkeyhint="done"
          aria-label=${say('nameIt')}
          placeholder=${say('nameIt')}
          .value=${this.name}
          @input=${(event: InputEvent) => (this.name = (event.target as HTMLInputElement).value)}
        />
        <button class="pill primary" ?disabled=${!this.done}>${say('keep')}</button>
      </form>
      <div class="line">
        ${
          thumbnails.length > 0
            ? html`<button class="round" aria-label=${say('undoShot')} @click=${() => this.lesson.undo()}>
                ${icons.undo}
              </button>`
            : html`<span></span>`
        }
        <button
          class="shoot"
          aria-label=${say('takeShot')}
          ?disabled=${busy || thumbnails.length >= MOST_SHOTS}
          @click=${() => void this.lesson.shoot()}
        >
          <i>${icons.plus}</i>
        </button>
        <span></span>
      </div>
    `;
  }

  private hint(verdict: Verdict | null): string | typeof nothing {
    const taken = this.lesson.state.value.thumbnails.length;
    if (verdict && verdict !== 'good') return say(WORDS[verdict]);
    if (taken === 0) return say('teachHow');
    if (taken < FEWEST_SHOTS) return say('teachMore', { more: FEWEST_SHOTS - taken });
    return say('teachEnough');
  }
}
