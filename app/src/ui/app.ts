/** The app as a whole: starts the session, and shows the page that its phase asks for. */
import { css, html, LitElement } from 'lit';
import { customElement } from 'lit/decorators.js';
import { applyLanguage, applyTheme } from './appearance.ts';
import { Session } from './session.ts';
import './start.ts';
import './viewer.ts';
import { Watch } from './watch.ts';

@customElement('pocket-lens')
export class App extends LitElement {
  static override styles = css`
    :host {
      display: block;
    }
  `;

  private readonly session = new Session();
  /** Once it was ready, a change of model shows within the viewer. */
  private begun = false;

  constructor() {
    super();
    new Watch(this, () => [this.session.phase, this.session.settings]);
    this.session.settings.subscribe(() => this.dress());
    this.dress();
    void this.session.start();
  }

  private dress(): void {
    applyTheme(this.session.settings.value.theme);
    applyLanguage(this.session.settings.value.language);
  }

  override render() {
    const phase = this.session.phase.value;
    this.begun = phase.kind === 'ready' || (this.begun && phase.kind !== 'failed');
    if (this.begun) return html`<pocket-viewer .session=${this.session}></pocket-viewer>`;
    return html`<pocket-start .phase=${phase} @again=${() => void this.session.start()}></pocket-start>`;
  }
}
