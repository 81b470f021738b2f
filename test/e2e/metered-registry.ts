import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Netns } from './netns.ts';
import { Registry } from './registry.ts';

const PROXY = join(import.meta.dirname, 'metering-proxy.ts');
const [PORT, BEHIND] = [5000, 5001];

interface Metered {
  readonly path: string;
  readonly range?: string;
  readonly bytes: number;
}

/** A registry that tells what each of its answers weighed. */
export class MeteredRegistry {
  /** Without the meter. */
  readonly registry: Registry;
  readonly url = `http://127.0.0.1:${PORT}`;
  readonly #log: string;
  #taken = 0;

  private constructor(registry: Registry, log: string) {
    this.registry = registry;
    this.#log = log;
  }

  /** `rate`: of a connection, bytes a second. */
  static async start(netns: Netns, rate: number): Promise<MeteredRegistry> {
    const data = join(netns.directory, 'registry');
    const registry = await Registry.start(netns, { name: 'registry', port: BEHIND, data });
    const log = join(netns.directory, 'metered.log');
    await writeFile(log, '');
    const args = [PROXY, String(PORT), String(BEHIND), log, String(rate)];
    const proxy = await netns.start('proxy', process.execPath, ...args);
    await netns.listening(proxy, PORT);
    return new MeteredRegistry(registry, log);
  }

  /** The answers since the last call whose path has this digest. */
  async take(digest: string): Promise<Metered[]> {
    const lines = (await readFile(this.#log, 'utf8')).split('\n').slice(0, -1);
    const fresh = lines.slice(this.#taken).map((line) => JSON.parse(line) as Metered);
    this.#taken = lines.length;
    return fresh.filter(({ path }) => path.includes(digest));
  }
}
