import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Netns } from './netns.ts';
import type { Service } from './service.ts';

interface RegistryOptions {
  readonly name: string;
  readonly port: number;
  /** The address it listens on; 127.0.0.1 unless given. */
  readonly host?: string;
  /** Where it keeps what was pushed; more than one may serve from the same. */
  readonly data: string;
}

/** A docker-registry process. */
export class Registry {
  readonly service: Service;
  readonly #netns: Netns;
  readonly #address: string;

  private constructor(netns: Netns, address: string, service: Service) {
    this.#netns = netns;
    this.#address = address;
    this.service = service;
  }

  static async start(netns: Netns, options: RegistryOptions): Promise<Registry> {
    const { name, port, host = '127.0.0.1', data } = options;
    const address = `${host}:${port}`;
    const settings = join(netns.directory, `${name}.yml`);
    const content = {
      version: '0.1',
      log: { level: 'warn', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: data } },
      http: { addr: address },
    };
    // JSON is YAML.
    await writeFile(settings, JSON.stringify(content));
    const service = await netns.start(name, 'docker-registry', 'serve', settings);
    await netns.listening(service, port);
    return new Registry(netns, address, service);
  }

  /** All platforms, as OCI or as Docker manifests; the tag is `1`. */
  async push(source: string, repository: string, format: 'oci' | 'v2s2'): Promise<void> {
    const destination = `docker://${this.#address}/${repository}:1`;
    const flags = ['--quiet', '--all', '--format', format, '--dest-tls-verify=false'];
    await this.#netns.run('skopeo', 'copy', ...flags, source, destination);
  }

  /** The exact bytes it holds. */
  async manifest(repository: string, reference: string): Promise<string> {
    const separator = reference.includes(':') ? '@' : ':';
    const source = `docker://${this.#address}/${repository}${separator}${reference}`;
    return this.#netns.run('skopeo', 'inspect', '--raw', '--tls-verify=false', source);
  }
}
