/** Which model, which way to run it, and what the race on this phone said. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { deviceHere } from '../engine/device.ts';
import { bytes, milliseconds, number, percent, say } from '../i18n/speech.ts';
import { webgpu, type ModelEntry } from '../install/catalog.ts';
import type { Progress } from '../install/progress.ts';
import type { Lap } from '../store/settings.ts';
import { sameWay } from './model.ts';
import { properties } from './properties.ts';
import type { Session } from './session.ts';
import { base, buttons, rows } from './styles.ts';
import { Watch } from './watch.ts';
import { wayName } from './way-name.ts';

@customElement('pocket-settings-model')
export class SettingsModel extends LitElement {
  static override styles = [
    base,
    buttons,
    rows,
    css`
      .row.lap {
        position: relative;
      }
      .bar {
        flex: 1 0 100%;
        height: 0.25rem;
        margin: 0.125rem 0 0.5rem;
        border-radius: 1rem;
        background: var(--muted);
        opacity: 0.6;
        transform-origin: left;
        transform: scaleX(var(--share));
      }
      .used .bar {
        background: var(--accent);
        opacity: 1;
      }
      input[type='radio'] {
        width: 1.375rem;
        height: 1.375rem;
        accent-color: var(--accent);
        margin: 0.8125rem;
        margin-inline-end: 0;
      }
    `,
  ];

  @property({ attribute: false }) session!: Session;
  @state() private fetching: Progress | null = null;
  @state() private failed = false;

  constructor() {
    super();
    new Watch(this, () => [this.session.settings, this.session.phase]);
  }

  override render() {
    const { settings, catalog, model } = this.session;
    const entry = model.entry;
    if (!entry) return nothing;
    const phase = this.session.phase.value;
    const racing = phase.kind === 'racing' ? phase.progress : null;
    const laps = settings.value.races[entry.fingerprint]?.laps ?? [];
    return html`
      ${catalog.models.length > 1 ? this.models(catalog.models, entry) : nothing}
      <h3 class="group-title" id="ways">${say('waysOf', { name: entry.name })}</h3>
      <div class="group" role="radiogroup" aria-labelledby="ways">
        <label class="row"
          ><span class="name">${say('wayAuto')}<small>${say('wayAutoHint')}</small></span>
          <input type="radio" name="way" .checked=${settings.value.way === null} @change=${() => this.choose(null)}
        /></label>
        ${laps.map((lap) => this.lap(lap, laps[0]!.medianMs))}
      </div>
      <p class="note">${say('wayNote')}</p>
      <div class="group">
        <button class="row" ?disabled=${racing !== null} @click=${() => void this.session.reopen({ race: 'wasm' })}>
          <span class="name" role="status"
            >${say('raceAgain')}<small
              >${racing ? `${wayName(racing.trying)} · ${percent(racing.share)}` : say('raceAgainHint')}</small
            ></span
          >
        </button>
        ${this.gpu(racing !== null)}
      </div>
      ${this.failed ? html`<p class="note" role="alert">${say('gpuFailed')}</p>` : nothing}
    `;
  }

  private models(models: ModelEntry[], current: ModelEntry) {
    return html`<h3 class="group-title" id="models">${say('model')}</h3>
      <div class="group" role="radiogroup" aria-labelledby="models">
        ${models.map(
          (model) =>
            html`<label class="row"
              ><span class="name"
                >${model.name}<small
                  >${say('modelFacts', { classes: model.classes, size: bytes(model.size) })}</small
                ></span
              >
              <input
                type="radio"
                name="model"
                .checked=${model.id === current.id}
                @change=${() => void this.session.useModel(model)}
            /></label>`,
        )}
      </div>`;
  }

  private lap({ way, medianMs }: Lap, best: number) {
    const used = sameWay(way, this.session.model.engine?.way ?? null);
    return html`<label class="row lap ${used ? 'used' : ''}"
      ><span class="name"
        >${wayName(way)}<small
          >${milliseconds(medianMs)} · ${say('perSecond', { count: number(1000 / medianMs) })}</small
        ></span
      >
      <input
        type="radio"
        name="way"
        .checked=${sameWay(way, this.session.settings.value.way)}
        @change=${() => this.choose(way)} />
      <span class="bar" ${properties({ '--share': best / medianMs })}></span
    ></label>`;
  }

  private gpu(racing: boolean) {
    const device = deviceHere();
    const runtime = webgpu(this.session.catalog);
    if (!runtime || !device.webgpu || device.ios) return nothing;
    const { fetching } = this;
    return html`<button class="row" ?disabled=${fetching !== null || racing} @click=${this.tryGpu}>
      <span class="name"
        >${say('tryGpu')}<small
          >${
            fetching
              ? `${bytes(fetching.loaded)} / ${bytes(fetching.total)}`
              : say('tryGpuHint', { size: bytes(runtime.size) })
          }</small
        ></span
      >
    </button>`;
  }

  private choose(way: Lap['way'] | null): void {
    this.session.settings.change({ way });
    void this.session.reopen();
  }

  private async tryGpu(): Promise<void> {
    const runtime = webgpu(this.session.catalog);
    if (!runtime) return;
    this.failed = false;
    try {
      await this.session.installer.add([runtime], (progress) => (this.fetching = progress));
      await this.session.reopen({ race: 'webgpu' });
      const { settings, model } = this.session;
      const { laps } = settings.value.races[model.entry?.fingerprint ?? ''] ?? { laps: [] };
      this.failed = !laps.some(({ way }) => way.provider === 'webgpu');
    } catch {
      this.failed = true;
    } finally {
      this.fetching = null;
    }
  }
}
