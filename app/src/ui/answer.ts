/** What it is: the answer in large type, how sure as a quiet bar, and what else it may be. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { confidence, say } from '../i18n/speech.ts';
import type { Mode } from '../store/settings.ts';
import { icons } from './icons.ts';
import { properties } from './properties.ts';
import { capital, type Candidate, type Reading } from './reading.ts';
import { bar, base, buttons } from './styles.ts';
import { Watch } from './watch.ts';

@customElement('pocket-answer')
export class AnswerCard extends LitElement {
  static override styles = [
    base,
    buttons,
    bar,
    css`
      :host {
        display: block;
      }
      .head {
        display: flex;
        flex-direction: column;
        justify-content: flex-end;
        width: 100%;
        min-height: 5.125rem;
        padding: 0 0.25rem;
        border-radius: 0.75rem;
        text-align: start;
      }
      button.head:active:not(:disabled) {
        transform: none;
      }
      .line {
        display: flex;
        align-items: flex-end;
        gap: 0.75rem;
        width: 100%;
      }
      .label {
        flex: 1;
        min-width: 0;
        font-size: 1.75rem;
        font-weight: 700;
        line-height: 1.14;
        letter-spacing: -0.022em;
        text-wrap: balance;
        overflow-wrap: break-word;
        hyphens: auto;
        display: -webkit-box;
        -webkit-box-orient: vertical;
        -webkit-line-clamp: 2;
        overflow: hidden;
      }
      .label.soft {
        font-weight: 600;
        color: var(--muted);
      }
      .share {
        font-size: 1.125rem;
        font-weight: 600;
        line-height: 1.8;
        font-variant-numeric: tabular-nums;
        color: var(--muted);
      }
      .toggle {
        color: var(--muted);
        align-self: center;
        transition: transform var(--calm);
      }
      [aria-expanded='true'] .toggle {
        transform: rotate(180deg);
      }
      .bar {
        width: 100%;
        height: 0.3125rem;
        margin-top: 0.625rem;
      }
      .hint {
        margin-top: 0.25rem;
        min-height: 1.25rem;
        line-height: 1.25;
        color: var(--muted);
      }
      .hint b {
        font-weight: 600;
        color: var(--ink);
      }
      ol {
        padding: 0.75rem 0.25rem 0.25rem;
      }
      li {
        display: grid;
        grid-template-columns: 1fr auto;
        align-items: center;
        gap: 0 0.75rem;
        padding: 0.4375rem 0;
      }
      li .bar {
        grid-column: 1 / -1;
        margin-top: 0.3125rem;
        height: 0.1875rem;
      }
      li .bar::before {
        background: var(--muted);
        opacity: 0.7;
      }
      li .value {
        color: var(--muted);
        font-variant-numeric: tabular-nums;
      }
      @media (forced-colors: active) {
        .bar {
          border: 1px solid;
        }
      }
    `,
  ];

  @property({ attribute: false }) reading: Reading = { kind: 'waiting' };
  @property() mode: Mode = 'objects';
  /** The others are shown below. */
  @property({ type: Boolean }) expanded = false;
  /** Whether a tap shows and hides the others; on a large screen they are always there. */
  @property({ type: Boolean }) foldable = true;

  constructor() {
    super();
    new Watch(this);
  }

  override render() {
    const { reading } = this;
    const others = reading.kind === 'known' ? reading.candidates.slice(1) : [];
    const list = reading.kind === 'unknown' ? reading.nearest : others;
    const foldable = this.foldable && list.length > 0;
    return html`
      ${
        foldable
          ? html`<button
              class="head"
              aria-expanded=${this.expanded}
              @click=${() => this.dispatchEvent(new CustomEvent('fold'))}
            >
              ${this.head(true)}
            </button>`
          : html`<div class="head">${this.head(false)}</div>`
      }
      ${
        this.expanded && list.length > 0
          ? html`<ol aria-label=${say(reading.kind === 'unknown' ? 'nearestGuesses' : 'otherGuesses')}>
              ${list.map((candidate) => this.guess(candidate))}
            </ol>`
          : nothing
      }
    `;
  }

  private head(foldable: boolean) {
    const { reading } = this;
    const toggle = foldable ? html`<span class="toggle">${icons.up}</span>` : nothing;
    switch (reading.kind) {
      case 'waiting':
        return html`<span class="line"><span class="label soft">${say('pointAtSomething')}</span></span>
          <span class="hint">${say('tapToChoose')}</span>`;
      case 'empty':
        return html`<span class="line"
            ><span class="label soft">${say(this.mode === 'products' ? 'noProducts' : 'noLandmarks')}</span></span
          >
          <span class="hint">${say('teachHint')}</span>`;
      case 'unknown': {
        const [nearest] = reading.nearest;
        return html`<span class="line"><span class="label soft">${say('unknown')}</span>${toggle}</span>
          <span class="hint"
            >${
              nearest
                ? html`${say('nearest')}
                    <b lang=${this.labelLanguage}>${nearest.label}</b> ${confidence(nearest.score)}`
                : nothing
            }</span
          >`;
      }
      case 'known': {
        const [answer] = reading.candidates as [Candidate, ...Candidate[]];
        return html`<span class="line"
            ><span class="label" lang=${this.labelLanguage}>${capital(answer.label)}</span>
            <span class="share">${confidence(answer.score)}</span>${toggle}</span
          >
          <span class="bar" ${properties({ '--share': answer.score })}></span>`;
      }
    }
  }

  private guess({ label, score }: Candidate) {
    return html`<li>
      <span class="name" lang=${this.labelLanguage}>${capital(label)}</span>
      <span class="value">${confidence(score)}</span>
      <span class="bar" ${properties({ '--share': score })}></span>
    </li>`;
  }

  /** A model's labels are English whatever the app speaks; a gallery's are in whoever's language. */
  private get labelLanguage(): string | typeof nothing {
    return this.mode === 'objects' ? 'en' : nothing;
  }
}
