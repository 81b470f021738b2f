import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageLayout } from './image-layout.ts';
import type { Netns } from './netns.ts';
import type { Service } from './service.ts';

const PROXY = join(import.meta.dirname, 'counting-proxy.ts');

interface Parts {
  readonly netns: Netns;
  readonly name: string;
  readonly port: number;
  readonly services: readonly Service[];
  readonly log: string;
}

/** A real docker-registry, with a proxy before it that writes down what the mirror asks. */
export class Origin {
  /** What the mirror is told. */
  readonly url: string;
  readonly #netns: Netns;
  readonly #registryAddress: string;
  readonly #services: readonly Service[];
  readonly #log: string;
  #taken = 0;

  private constructor({ netns, port, services, log }: Parts) {
    this.url = `http://127.0.0.1:${port}`;
    this.#netns = netns;
    this.#registryAddress = `127.0.0.1:${port + 1}`;
    this.#services = services;
    this.#log = log;
  }

  /** Takes `port` and the one after it. */
  static async start(netns: Netns, name: string, port: number): Promise<Origin> {
    const log = join(netns.directory, `${name}-requests.log`);
    await writeFile(log, '');
    const settings = join(netns.directory, `${name}.json`);
    await writeFile(settings, JSON.stringify(registrySettings(netns, name, port + 1)));
    const registry = await netns.start(name, 'docker-registry', 'serve', settings);
    const proxyArguments = [PROXY, String(port), String(port + 1), log];
    const proxy = await netns.start(`${name}-proxy`, process.execPath, ...proxyArguments);
    await Promise.all([netns.listening(registry, port + 1), netns.listening(proxy, port)]);
    return new Origin({ netns, name, port, services: [proxy, registry], log });
  }

  /** Pushes the index `tag` of the layout with all its platforms, as OCI or as Docker manifests. */
  async push(layout: ImageLayout, repository: string, format: 'oci' | 'v2s2'): Promise<void> {
    const destination = `docker://${this.#registryAddress}/${repository}:1`;
    const flags = ['--quiet', '--all', '--format', format, '--dest-tls-verify=false'];
    await this.#netns.run('skopeo', 'copy', ...flags, layout.reference, destination);
  }

  /** The exact bytes it holds; not counted. */
  async manifest(repository: string, reference: string): Promise<string> {
    const separator = reference.includes(':') ? '@' : ':';
    const source = `docker://${this.#registryAddress}/${repository}${separator}${reference}`;
    return this.#netns.run('skopeo', 'inspect', '--raw', '--tls-verify=false', source);
  }

  /** The requests since the last call, in order of their text: clients fetch in parallel. */
  async takeRequests(): Promise<string[]> {
    const lines = await this.#lines();
    const fresh = lines.slice(this.#taken).filter((line) => line !== 'connection');
    this.#taken = lines.length;
    return fresh.toSorted();
  }

  /** How many connections it has accepted since its start. */
  async connections(): Promise<number> {
    return (await this.#lines()).filter((line) => line === 'connection').length;
  }

  /** Connections to it are refused from here on. */
  async stop(): Promise<void> {
    await Promise.all(this.#services.map(async (service) => service.stop('SIGKILL')));
  }

  /** Connections to it open and nothing ever comes. */
  hang(): void {
    for (const service of this.#services) service.signal('SIGSTOP');
  }

  async #lines(): Promise<string[]> {
    const lines = (await readFile(this.#log, 'utf8')).split('\n');
    return lines.slice(0, -1);
  }
}

/** JSON is YAML. */
function registrySettings(netns: Netns, name: string, port: number): object {
  return {
    version: '0.1',
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(netns.directory, `${name}-data`) } },
    http: { addr: `127.0.0.1:${port}` },
  };
}
