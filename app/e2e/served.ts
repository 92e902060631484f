/** A site over HTTP by `pocketlens serve`, that a test can end when it likes. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { PYTHON, SITE } from './places.ts';

export class Served {
  readonly url: string;
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(url: string, process: ChildProcess) {
    this.url = url;
    this.#process = process;
    this.#ended = once(process, 'exit');
  }

  /** @param port one that an earlier server had, to come back at the same address; 0 takes any. */
  static async start(site: string = SITE, port = 0): Promise<Served> {
    const args = ['-m', 'pocketlens', 'serve', site, '--port', String(port), '--json'];
    const child = spawn(PYTHON, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let trouble = '';
    child.stderr.on('data', (chunk) => (trouble += String(chunk)));
    let text = '';
    for await (const chunk of child.stdout) {
      text += String(chunk);
      if (text.endsWith('}\n')) break;
    }
    if (!text) throw new Error(`the server did not start: ${trouble}`);
    const [url] = (JSON.parse(text) as { urls: [string] }).urls;
    return new Served(url, child);
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }
}
