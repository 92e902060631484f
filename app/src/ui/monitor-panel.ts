/** The monitor: how fast, where the time goes, what the phone has to say about it. */
import { css, html, LitElement, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { bytes, milliseconds, number, percent, say, sayCount, type Key } from '../i18n/speech.ts';
import { historyFile } from '../monitor/export.ts';
import { TIMED, type Sample, type Timed } from '../monitor/sample.ts';
import { icons } from './icons.ts';
import type { Session } from './session.ts';
import { sparkline } from './sparkline.ts';
import { download } from './still.ts';
import { base, buttons, rows } from './styles.ts';
import { Watch } from './watch.ts';
import { wayName } from './way-name.ts';

const STAGES: Record<Timed, Key> = {
  grab: 'stageGrab',
  preprocess: 'stagePreprocess',
  inference: 'stageInference',
  postprocess: 'stagePostprocess',
  around: 'stageAround',
  label: 'stageLabel',
};

/** This much slower than in its first minute, a phone is holding back. */
const THROTTLED = 1.2;
/** Rows that the curves show: the last twenty minutes. */
const CURVE_ROWS = 120;

@customElement('pocket-monitor')
export class MonitorPanel extends LitElement {
  static override styles = [
    base,
    buttons,
    rows,
    css`
      .tiles {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
        gap: 0.5rem;
        margin-bottom: 0.5rem;
      }
      .tile {
        padding: 0.75rem 1rem;
        border-radius: var(--radius);
        background: var(--raised);
      }
      .tile span {
        font-size: 0.875rem;
        color: var(--muted);
      }
      .tile b {
        display: block;
        font-size: 1.5rem;
        font-weight: 650;
        letter-spacing: -0.02em;
        font-variant-numeric: tabular-nums;
      }
      .spark {
        width: 100%;
        height: 2rem;
        margin-top: 0.25rem;
        color: var(--accent);
      }
      table {
        width: 100%;
        border-collapse: collapse;
        font-variant-numeric: tabular-nums;
      }
      th,
      td {
        padding: 0.5rem 1rem 0.5rem 0;
        font-weight: 400;
        text-align: end;
        white-space: nowrap;
      }
      th[scope='row'] {
        padding-inline-start: 1rem;
        text-align: start;
        white-space: normal;
      }
      thead th {
        font-size: 0.875rem;
        color: var(--muted);
      }
      tr + tr {
        border-top: 1px solid var(--line);
      }
      tr:last-child {
        font-weight: 600;
      }
      .table {
        overflow-x: auto;
      }
    `,
  ];

  @property({ attribute: false }) session!: Session;
  @state() private history: Sample[] = [];

  constructor() {
    super();
    new Watch(this, () => [this.session.monitor.now]);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.session.history.samples().then((samples) => (this.history = samples));
  }

  override render() {
    const now = this.session.monitor.now.value ?? this.history.at(-1);
    if (!now) return html`<p class="note">${say('monitorEmpty')}</p>`;
    const rows = this.history.slice(-CURVE_ROWS);
    const memory = memoryOf(now);
    return html`
      <div class="tiles">
        ${this.tile(
          say('fps'),
          number(now.fps, 1),
          rows.map((row) => row.fps),
        )}
        ${this.tile(
          say('cameraToLabel'),
          milliseconds(now.stages.label.p50),
          rows.map((row) => row.stages.label.p50),
        )}
        ${
          memory === null
            ? nothing
            : this.tile(
                say('memory'),
                bytes(memory),
                rows.map((row) => memoryOf(row)),
              )
        }
        ${
          now.battery === null
            ? nothing
            : this.tile(
                say('battery'),
                percent(now.battery),
                rows.map((row) => row.battery),
              )
        }
        ${this.tile(
          say('dropped'),
          number(now.dropped),
          rows.map((row) => row.dropped),
        )}
        ${this.tile(
          say('throttling'),
          this.drift(now),
          rows.map((row) => row.drift),
        )}
      </div>
      <div class="group table">
        <table>
          <thead>
            <tr>
              <th scope="row">${say('stage')}</th>
              <th scope="col">p50</th>
              <th scope="col">p95</th>
            </tr>
          </thead>
          <tbody>
            ${TIMED.map(
              (stage) =>
                html`<tr>
                  <th scope="row">${say(STAGES[stage])}</th>
                  <td>${milliseconds(now.stages[stage].p50)}</td>
                  <td>${milliseconds(now.stages[stage].p95)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
      <p class="note">${wayName(now.way)}</p>
      <div class="group">
        <button class="row" ?disabled=${this.history.length === 0} @click=${this.export}>
          ${icons.out}<span class="name"
            >${say('exportHistory')}<small>${sayCount('rows', this.history.length)}</small></span
          >
        </button>
      </div>
    `;
  }

  private tile(name: string, value: string, values: readonly (number | null)[]) {
    return html`<div class="tile">
      <span>${name}</span><b>${value}</b>${values.length > 1 ? sparkline(values) : nothing}
    </div>`;
  }

  private drift({ drift }: Sample): string {
    if (drift === null) return say('throttlingUnknown');
    return drift > THROTTLED ? say('throttled', { share: percent(drift - 1) }) : say('notThrottled');
  }

  private async export(): Promise<void> {
    download(historyFile(await this.session.history.samples(), navigator.userAgent));
  }
}

/** All of the page's where the browser measures that, else its heap. */
const memoryOf = (sample: Sample): number | null => sample.memory ?? sample.heap;
