import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MAIN } from '../helpers/process.ts';
import type { Netns } from './netns.ts';
import type { Service } from './service.ts';

const ASK = join(import.meta.dirname, 'ask.ts');
const PORT = 8080;
const ADMIN_PORT = 8081;

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** How a command ended. */
export interface Outcome {
  readonly code: number;
  readonly output: string;
}

/** `entrepot serve` as an operator starts it: a process and a configuration file. */
export class Mirror {
  /** What clients are told. */
  readonly url: string;
  readonly storePath: string;
  readonly #netns: Netns;
  readonly #settings: string;
  #service: Service | undefined;

  private constructor(netns: Netns, host: string) {
    this.url = `http://${host}:${PORT}`;
    this.#netns = netns;
    this.#settings = join(netns.directory, 'entrepot.yaml');
    this.storePath = join(netns.directory, 'store');
  }

  /** `host`: the address that clients are told. */
  static async start(netns: Netns, settings: object, host = '127.0.0.1'): Promise<Mirror> {
    const mirror = new Mirror(netns, host);
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

  /** `entrepot …` with the configuration of this mirror. Rejects only when it does not exit. */
  async command(...args: readonly string[]): Promise<Outcome> {
    const command = [MAIN, ...args, '--config', this.#settings];
    try {
      return { code: 0, output: await this.#netns.run(process.execPath, ...command) };
    } catch (error) {
      const { code, stdout } = error as { code?: unknown; stdout?: string };
      if (typeof code !== 'number' || stdout === undefined) throw error;
      return { code, output: stdout };
    }
  }

  async log(): Promise<string> {
    return this.#service?.log() ?? '';
  }

  async #start(settings: object): Promise<void> {
    const complete = {
      listen: `127.0.0.1:${PORT}`,
      admin: `127.0.0.1:${ADMIN_PORT}`,
      grace: '100ms',
      store: { path: this.storePath },
      ...settings,
    };
    // JSON is YAML.
    await writeFile(this.#settings, JSON.stringify(complete));
    const args = [MAIN, 'serve', '--config', this.#settings];
    this.#service = await this.#netns.start('entrepot', process.execPath, ...args);
    await this.#netns.listening(this.#service, PORT);
    await this.#netns.listening(this.#service, ADMIN_PORT);
  }
}
