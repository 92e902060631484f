/** Lets a component follow signals. */
import type { ReactiveController, ReactiveControllerHost } from 'lit';
import { language } from '../i18n/speech.ts';

/** Whatever tells when it changes. */
export interface Watched {
  subscribe(listener: () => void): () => void;
}

/** Draws its host anew whenever one of the signals, or the language, changes while it is on the page. */
export class Watch implements ReactiveController {
  private ends: (() => void)[] = [];

  /** `find` is called when the host comes onto the page, when its properties are set. */
  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly find: () => Watched[] = () => [],
  ) {
    host.addController(this);
  }

  hostConnected(): void {
    const draw = () => this.host.requestUpdate();
    this.ends = [language, ...this.find()].map((signal) => signal.subscribe(draw));
    draw();
  }

  hostDisconnected(): void {
    for (const end of this.ends) end();
    this.ends = [];
  }
}
