import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Netns } from './netns.ts';
import { Registry } from './registry.ts';
import type { Service } from './service.ts';
import { until } from '../helpers/until.ts';

const PROXY = join(import.meta.dirname, 'counting-proxy.ts');

interface OriginOptions {
  readonly name: string;
  readonly port: number;
  readonly data: string;
}

/** A registry as the mirror meets it: behind a proxy that writes down what is asked. */
export class Origin {
  /** What the mirror is told. */
  readonly url: string;
  readonly #registry: Registry;
  readonly #proxy: Service;
  readonly #log: string;
  #taken = 0;

  private constructor(url: string, registry: Registry, proxy: Service, log: string) {
    this.url = url;
    this.#registry = registry;
    this.#proxy = proxy;
    this.#log = log;
  }

  /** Takes `port` and the one after it. */
  static async start(netns: Netns, { name, port, data }: OriginOptions): Promise<Origin> {
    const registry = await Registry.start(netns, { name, port: port + 1, data });
    const log = join(netns.directory, `${name}-requests.log`);
    await writeFile(log, '');
    const args = [PROXY, String(port), String(port + 1), log];
    const proxy = await netns.start(`${name}-proxy`, process.execPath, ...args);
    await netns.listening(proxy, port);
    return new Origin(`http://127.0.0.1:${port}`, registry, proxy, log);
  }

  /** The requests since the last call, in order of their text: clients fetch in parallel. */
  async takeRequests(): Promise<string[]> {
    const lines = await this.#lines();
    const fresh = lines.slice(this.#taken).filter((line) => line.includes(' '));
    this.#taken = lines.length;
    return fresh.toSorted();
  }

  /** How many connections it has accepted since its start. */
  async connections(): Promise<number> {
    return (await this.#lines()).filter((line) => line === 'connection').length;
  }

  /** From here on requests are taken and never answered. */
  async hang(): Promise<void> {
    this.#proxy.signal('SIGUSR2');
    await until(
      'the proxy to hang',
      async () => (await this.#lines()).includes('hangs') || undefined,
    );
  }

  /** From here on connections are refused. */
  async stop(): Promise<void> {
    await Promise.all([this.#proxy.stop('SIGKILL'), this.#registry.service.stop('SIGKILL')]);
  }

  async #lines(): Promise<string[]> {
    const lines = (await readFile(this.#log, 'utf8')).split('\n');
    return lines.slice(0, -1);
  }
}
