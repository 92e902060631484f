/** Settings: how the app looks and speaks, what it runs and keeps, and what it promises. */
import { html, LitElement, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { LANGUAGES, type Language } from '../i18n/languages.ts';
import { say, type Key } from '../i18n/speech.ts';
import { THEMES, type Theme } from '../store/settings.ts';
import './about.ts';
import { icons } from './icons.ts';
import './monitor-panel.ts';
import type { Session } from './session.ts';
import './settings-model.ts';
import './settings-storage.ts';
import './sheet.ts';
import { base, buttons, rows } from './styles.ts';
import { Watch } from './watch.ts';

type Page = 'top' | 'model' | 'monitor' | 'storage' | 'about';

const TITLES: Record<Page, Key> = {
  top: 'settings',
  model: 'modelAndSpeed',
  monitor: 'monitor',
  storage: 'storage',
  about: 'about',
};

const THEME_NAMES: Record<Theme, Key> = { auto: 'themeAuto', light: 'themeLight', dark: 'themeDark' };

@customElement('pocket-settings')
export class SettingsSheet extends LitElement {
  static override styles = [base, buttons, rows];

  @property({ attribute: false }) session!: Session;
  @state() private page: Page = 'top';

  constructor() {
    super();
    new Watch(this, () => [this.session.settings, this.session.homeScreen.offer]);
  }

  override render() {
    return html`<pocket-sheet
      heading=${say(TITLES[this.page])}
      ?nested=${this.page !== 'top'}
      @back=${() => (this.page = 'top')}
      @close=${() => this.dispatchEvent(new CustomEvent('close'))}
    >
      ${this.body()}
    </pocket-sheet>`;
  }

  private body() {
    switch (this.page) {
      case 'top':
        return this.top();
      case 'model':
        return html`<pocket-settings-model .session=${this.session}></pocket-settings-model>`;
      case 'monitor':
        return html`<pocket-monitor .session=${this.session}></pocket-monitor>`;
      case 'storage':
        return html`<pocket-settings-storage .session=${this.session}></pocket-settings-storage>`;
      case 'about':
        return html`<pocket-about .session=${this.session}></pocket-about>`;
    }
  }

  private top() {
    const { settings, homeScreen } = this.session;
    const { language, theme } = settings.value;
    return html`
      ${homeScreen.offer.value === 'none' ? nothing : this.homeScreen()}
      <div class="group">
        <label class="row"
          ><span class="name">${say('language')}</span>
          <select @change=${(event: Event) => settings.change({ language: valueOf(event) as Language | 'auto' })}>
            <option value="auto" ?selected=${language === 'auto'}>${say('languageAuto')}</option>
            ${Object.entries(LANGUAGES).map(
              ([tag, name]) => html`<option value=${tag} lang=${tag} ?selected=${language === tag}>${name}</option>`,
            )}
          </select></label
        >
        <label class="row"
          ><span class="name">${say('theme')}</span>
          <select @change=${(event: Event) => settings.change({ theme: valueOf(event) as Theme })}>
            ${THEMES.map(
              (name) => html`<option value=${name} ?selected=${theme === name}>${say(THEME_NAMES[name])}</option>`,
            )}
          </select></label
        >
        ${'vibrate' in navigator ? this.flag('haptics', say('haptics'), say('hapticsHint')) : nothing}
        ${'wakeLock' in navigator ? this.flag('keepAwake', say('keepAwake'), say('keepAwakeHint')) : nothing}
      </div>
      <div class="group">
        ${this.link('model', say('modelAndSpeed'))} ${this.link('monitor', say('monitor'))}
        ${this.link('storage', say('storage'))} ${this.link('about', say('about'))}
      </div>
      <p class="note">${say('nothingLeaves')}</p>
    `;
  }

  private homeScreen() {
    const byHand = this.session.homeScreen.offer.value === 'by-hand-ios';
    return html`<div class="group">
      ${
        byHand
          ? html`<p class="row">
              <span class="name">${say('homeScreen')}<small>${say('homeScreenIos')}</small></span>
            </p>`
          : html`<button class="row" @click=${() => void this.session.homeScreen.install()}>
              ${icons.home}<span class="name">${say('homeScreen')}<small>${say('homeScreenHint')}</small></span>
            </button>`
      }
    </div>`;
  }

  private flag(field: 'haptics' | 'keepAwake', name: string, hint: string) {
    const { settings } = this.session;
    return html`<label class="row"
      ><span class="name">${name}<small>${hint}</small></span>
      <input
        type="checkbox"
        role="switch"
        .checked=${settings.value[field]}
        @change=${(event: Event) => settings.change({ [field]: (event.target as HTMLInputElement).checked })}
    /></label>`;
  }

  private link(page: Page, name: string) {
    return html`<button class="row" @click=${() => (this.page = page)}>
      <span class="name">${name}</span>${icons.chevron}
    </button>`;
  }
}

const valueOf = (event: Event): string => (event.target as HTMLSelectElement).value;
