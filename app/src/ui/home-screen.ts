/** Putting the app on the home screen: the browser's own prompt where it offers one, else how to do it by hand. */
import { Signal } from '../store/signal.ts';

interface InstallPrompt extends Event {
  prompt(): Promise<{ outcome: 'accepted' | 'dismissed' }>;
}

export type Offer = 'prompt' | 'by-hand-ios' | 'none';

export class HomeScreen {
  readonly offer: Signal<Offer>;
  private saved: InstallPrompt | null = null;

  constructor({ ios }: { ios: boolean }) {
    const installed =
      matchMedia('(display-mode: standalone)').matches || matchMedia('(display-mode: fullscreen)').matches;
    this.offer = new Signal<Offer>(ios && !installed ? 'by-hand-ios' : 'none');
    window.addEventListener('beforeinstallprompt', (event) => {
      event.preventDefault();
      this.saved = event as InstallPrompt;
      this.offer.value = 'prompt';
    });
    window.addEventListener('appinstalled', () => (this.offer.value = 'none'));
  }

  /** Show the browser's prompt. Needs a tap just before. */
  async install(): Promise<void> {
    const saved = this.saved;
    this.saved = null;
    this.offer.value = 'none';
    await saved?.prompt();
  }
}
