import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client, ImageName } from './client.ts';
import type { Netns } from './netns.ts';

/** skopeo, which knows no mirrors: the image is named as the mirror's own. */
export class Skopeo implements Client {
  readonly #netns: Netns;
  readonly #home: string;
  readonly #mirror: string;

  private constructor(netns: Netns, home: string, mirror: string) {
    this.#netns = netns;
    this.#home = home;
    this.#mirror = new URL(mirror).host;
  }

  static async create(netns: Netns, mirror: string): Promise<Skopeo> {
    const home = join(netns.directory, 'skopeo');
    await mkdir(home, { recursive: true });
    const policy = { default: [{ type: 'insecureAcceptAnything' }] };
    await writeFile(join(home, 'policy.json'), JSON.stringify(policy));
    return new Skopeo(netns, home, mirror);
  }

  async pull(image: ImageName): Promise<string> {
    const destination = `oci:${this.#layout}:pulled`;
    await this.#copy(this.#sourceOf(image), destination, '--src-tls-verify=false');
    const bundle = join(this.#home, 'bundle');
    await this.#netns.run('umoci', 'unpack', '--image', `${this.#layout}:pulled`, bundle);
    return join(bundle, 'rootfs');
  }

  async remove(): Promise<void> {
    await rm(this.#layout, { recursive: true });
    await rm(join(this.#home, 'bundle'), { recursive: true });
  }

  /** Every platform, bytes as they come; the directory they are in, each file named by its hash. */
  async pullAll(image: ImageName): Promise<string> {
    return this.copy(this.#sourceOf(image), '--all', '--src-tls-verify=false');
  }

  /** Bytes as they come, of this machine's platform unless told otherwise. */
  async copy(source: string, ...flags: string[]): Promise<string> {
    const directory = join(this.#home, 'all');
    await rm(directory, { recursive: true, force: true });
    await this.#copy(source, `dir:${directory}`, '--preserve-digests', ...flags);
    return directory;
  }

  get #layout(): string {
    return join(this.#home, 'layout');
  }

  #sourceOf({ registry, repository, reference }: ImageName): string {
    const separator = reference.includes(':') ? '@' : ':';
    const path = `${registry.replace(':', '_')}/${repository}${separator}${reference}`;
    return `docker://${this.#mirror}/${path}`;
  }

  async #copy(source: string, destination: string, ...flags: string[]): Promise<void> {
    const policy = join(this.#home, 'policy.json');
    const quiet = ['--policy', policy, 'copy', '--quiet', ...flags];
    await this.#netns.run('skopeo', ...quiet, source, destination);
  }
}
