import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Netns } from './netns.ts';
import type { Service } from './service.ts';

const ASK = join(import.meta.dirname, 'ask.ts');
const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const PORT = 8080;
const ADMIN_PORT = 8081;

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** `entrepot serve` as an operator starts it: a process and a configuration file. */
export class Mirror {
  /** What clients are told. */
  readonly url = `http://127.0.0.1:${PORT}`;
  readonly #netns: Netns;
  #service: Service | undefined;

  private constructor(netns: Netns) {
    this.#netns = netns;
  }

  static async start(netns: Netns, settings: object): Promise<Mirror> {
    const mirror = new Mirror(netns);
    await mirror.#start(settings);
    return mirror;
  }

  /** A new process on the same store. */
  async restart(settings: object, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.#service?.stop(signal);
    await this.#start(settings);
  }

  /** `GET /v2/…` and the like, one after the other. */
  async ask(...questions: readonly string[]): Promise<Reply[]> {
    const requests = questions.map((question) => question.replace(' /', ` ${this.url}/`));
    return JSON.parse(await this.#netns.run(process.execPath, ASK, ...requests)) as Reply[];
  }

  async log(): Promise<string> {
    return this.#service?.log() ?? '';
  }

  async #start(settings: object): Promise<void> {
    const path = join(this.#netns.directory, 'entrepot.yaml');
    const complete = {
      listen: `127.0.0.1:${PORT}`,
      admin: `127.0.0.1:${ADMIN_PORT}`,
      store: { path: join(this.#netns.directory, 'store') },
      ...settings,
    };
    // JSON is YAML.
    await writeFile(path, JSON.stringify(complete));
    const args = [MAIN, 'serve', '--config', path];
    this.#service = await this.#netns.start('entrepot', process.execPath, ...args);
    await this.#netns.listening(this.#service, PORT);
    await this.#netns.listening(this.#service, ADMIN_PORT);
  }
}
