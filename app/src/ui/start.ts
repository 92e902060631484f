/** The first minute: the app is secured, fetched and raced; or why it cannot start, and the way out. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { bytes, percent, say, type Key } from '../i18n/speech.ts';
import { mark } from './icons.ts';
import { properties } from './properties.ts';
import type { Phase } from './session.ts';
import type { StartTrouble } from './start-trouble.ts';
import { bar, base, buttons } from './styles.ts';
import { Watch } from './watch.ts';
import { wayName } from './way-name.ts';

const TROUBLES: Record<StartTrouble, Key> = {
  insecure: 'startInsecure',
  unsupported: 'startUnsupported',
  failed: 'startFailed',
  bypassed: 'startBypassed',
  offline: 'startOffline',
  host: 'startHost',
  corrupt: 'startCorrupt',
  missing: 'startMissing',
  quota: 'startQuota',
  newer: 'startNewer',
  'no-model': 'startNoModel',
  memory: 'startMemory',
  runtime: 'startRuntime',
};

@customElement('pocket-start')
export class Start extends LitElement {
  static override styles = [
    base,
    buttons,
    bar,
    css`
      :host {
        display: grid;
        place-items: center;
        min-height: 100dvh;
        padding: calc(2rem + env(safe-area-inset-top)) 1.75rem calc(2rem + env(safe-area-inset-bottom));
        background: var(--paper);
      }
      .page {
        display: flex;
        flex-direction: column;
        align-items: center;
        width: min(100%, 24rem);
        text-align: center;
      }
      .mark {
        width: 6rem;
        height: 6rem;
      }
      .mark svg {
        width: 100%;
        height: 100%;
      }
      h1 {
        margin-top: 1.25rem;
        font-size: 2rem;
        font-weight: 700;
        line-height: 1.15;
        letter-spacing: -0.03em;
      }
      .promise {
        margin-top: 0.5rem;
        font-size: 1.125rem;
        color: var(--muted);
        text-wrap: balance;
      }
      .work {
        width: 100%;
        min-height: 8.5rem;
        margin-top: 3rem;
      }
      .what {
        font-weight: 600;
        text-wrap: balance;
      }
      .figures {
        margin-top: 0.25rem;
        min-height: 1.4rem;
        font-size: 0.9375rem;
        color: var(--muted);
        font-variant-numeric: tabular-nums;
      }
      .bar {
        height: 0.375rem;
        margin: 1rem 0 0.75rem;
      }
      .bar.open::before {
        transform-origin: center;
        animation: breathe 1.6s ease-in-out infinite alternate;
      }
      @keyframes breathe {
        from {
          transform: scaleX(0.12);
          opacity: 0.6;
        }
        to {
          transform: scaleX(0.4);
        }
      }
      @media (prefers-reduced-motion: reduce) {
        .bar.open::before {
          animation: none;
          transform: scaleX(0.3);
        }
      }
      .pill {
        margin-top: 1.5rem;
      }
      @media (orientation: landscape) and (max-height: 34.99rem) {
        .mark {
          width: 4rem;
          height: 4rem;
        }
        .work {
          margin-top: 1rem;
        }
      }
    `,
  ];

  @property({ attribute: false }) phase!: Phase;

  constructor() {
    super();
    new Watch(this);
  }

  override render() {
    return html`
      <main class="page">
        <div class="mark">${mark}</div>
        <h1>pocketlens</h1>
        <p class="promise">${say('promise')}</p>
        <div class="work" role=${this.phase.kind === 'failed' ? 'alert' : nothing}>${this.work()}</div>
      </main>
    `;
  }

  private work() {
    const { phase } = this;
    switch (phase.kind) {
      case 'failed':
        return html`<p class="what">${say(TROUBLES[phase.trouble], { size: bytes(phase.neededBytes) })}</p>
          <button class="pill primary" @click=${() => this.dispatchEvent(new CustomEvent('again'))}>
            ${say('tryAgain')}
          </button>`;
      case 'installing': {
        const { progress } = phase;
        if (!progress) return this.doing(say('checkingFiles'), '', null);
        const figures = `${bytes(progress.loaded)} / ${bytes(progress.total)}`;
        return this.doing(say('fetching'), figures, progress.loaded / Math.max(1, progress.total));
      }
      case 'racing': {
        const { progress } = phase;
        return this.doing(say('racing'), progress ? wayName(progress.trying) : '', progress?.share ?? null);
      }
      case 'opening':
      case 'ready':
        return this.doing(say('opening'), '', null);
      case 'securing':
        return this.doing(say('securing'), '', null);
    }
  }

  private doing(what: string, figures: string, share: number | null) {
    return html`
      <p class="what" role="status">${what}</p>
      <div
        class="bar ${share === null ? 'open' : ''}"
        role="progressbar"
        aria-label=${what}
        aria-valuemin="0"
        aria-valuemax="100"
        aria-valuenow=${share === null ? nothing : Math.round(share * 100)}
        aria-valuetext=${share === null ? nothing : percent(share)}
        ${properties({ '--share': share ?? 0.3 })}
      ></div>
      <p class="figures">${figures}</p>
    `;
  }
}
