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
  /** What a command that failed said is wrong. */
  readonly problems: string;
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

  async stop(): Promise<void> {
    await this.#service?.stop('SIGTERM');
  }

  /** `GET /v2/…` and the like, one after the other. */
  async ask(...questions: readonly string[]): Promise<Reply[]> {
    const requests = questions.map((question) => question.replace(' /', ` ${this.url}/`));
    return JSON.parse(await this.#netns.run(process.execPath, ASK, ...requests)) as Reply[];
  }

  /** `entrepot …` with the configuration of this mirror. Rejects only when it does not exit. */
  async command(...args: readonly string[]): Promise<Outcome> {
    return this.#run([...args, '--config', this.#settings]);
  }

  /** `entrepot …` of the kind that asks no mirror, on its machine. Rejects when it fails. */
  async tool(...args: readonly string[]): Promise<string> {
    const { code, output, problems } = await this.#run(args);
    if (code !== 0) throw new Error(`entrepot ${args.join(' ')}: ${problems}`);
    return output;
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

  async #run(args: readonly string[]): Promise<Outcome> {
    try {
      const output = await this.#netns.run(process.execPath, MAIN, ...args);
      return { code: 0, output, problems: '' };
    } catch (error) {
      const { code, stdout, stderr = '' } = error as Failed;
      if (typeof code !== 'number' || stdout === undefined) throw error;
      return { code, output: stdout, problems: stderr };
    }
  }
}

interface Failed {
  readonly code?: unknown;
  readonly stdout?: string;
  readonly stderr?: string;
}
