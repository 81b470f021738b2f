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
    await mkdir(home);
    const policy = { default: [{ type: 'insecureAcceptAnything' }] };
    await writeFile(join(home, 'policy.json'), JSON.stringify(policy));
    return new Skopeo(netns, home, mirror);
  }

  async pull(image: ImageName): Promise<string> {
    await this.#copy(image, `oci:${this.#layout}:pulled`);
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
    const directory = join(this.#home, 'all');
    await rm(directory, { recursive: true, force: true });
    await this.#copy(image, `dir:${directory}`, '--all', '--preserve-digests');
    return directory;
  }

  get #layout(): string {
    return join(this.#home, 'layout');
  }

  async #copy(image: ImageName, destination: string, ...flags: string[]): Promise<void> {
    const { registry, repository, reference } = image;
    const separator = reference.includes(':') ? '@' : ':';
    const path = `${registry.replace(':', '_')}/${repository}${separator}${reference}`;
    const policy = join(this.#home, 'policy.json');
    await this.#netns.run(
      'skopeo',
      '--policy',
      policy,
      'copy',
      '--quiet',
      '--src-tls-verify=false',
      ...flags,
      `docker://${this.#mirror}/${path}`,
      destination,
    );
  }
}
