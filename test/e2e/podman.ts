import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatImage } from './client.ts';
import type { Client, ImageName } from './client.ts';
import type { Netns } from './netns.ts';

/** podman with a `registries.conf` that names the mirror in path form. */
export class Podman implements Client {
  readonly #netns: Netns;
  readonly #home: string;
  readonly #registries: readonly string[];

  private constructor(netns: Netns, home: string, registries: readonly string[] = []) {
    this.#netns = netns;
    this.#home = home;
    this.#registries = registries;
  }

  /** As the files in /etc/containers say. */
  static async installed(netns: Netns): Promise<Podman> {
    const home = join(netns.directory, 'podman');
    await mkdir(home);
    await writePolicy(home);
    return new Podman(netns, home);
  }

  /** `registries`: what the upstreams are called, and the first path component the mirror knows them by. */
  static async create(
    netns: Netns,
    mirror: string,
    registries: Readonly<Record<string, string>>,
  ): Promise<Podman> {
    const home = join(netns.directory, 'podman');
    await mkdir(home);
    const tables = Object.entries(registries).map(
      ([registry, path]) => `[[registry]]
prefix = "${registry}"
location = "${registry}"
[[registry.mirror]]
location = "${new URL(mirror).host}/${path}"
insecure = true
`,
    );
    await writeFile(join(home, 'registries.conf'), tables.join(''));
    await writePolicy(home);
    const variable = `CONTAINERS_REGISTRIES_CONF=${join(home, 'registries.conf')}`;
    return new Podman(netns, home, [variable]);
  }

  async pull(image: ImageName): Promise<string> {
    const name = formatImage(image);
    await this.#podman('pull', '--quiet', '--signature-policy', this.policy, name);
    return (await this.#podman('image', 'mount', name)).trim();
  }

  async remove(image: ImageName): Promise<void> {
    await this.#podman('image', 'unmount', formatImage(image));
    await this.#podman('rmi', formatImage(image));
  }

  /** `podman …` with a storage of its own. */
  command(...args: readonly string[]): [string, ...string[]] {
    return [
      'env',
      ...this.#registries,
      'podman',
      `--root=${join(this.#home, 'root')}`,
      `--runroot=${join(this.#home, 'run')}`,
      `--tmpdir=${join(this.#home, 'tmp')}`,
      '--storage-driver=vfs',
      '--cgroup-manager=cgroupfs',
      '--events-backend=none',
      ...args,
    ];
  }

  /** By which it takes images that nobody has signed. */
  get policy(): string {
    return join(this.#home, 'policy.json');
  }

  async #podman(...args: string[]): Promise<string> {
    return this.#netns.run(...this.command(...args));
  }
}

async function writePolicy(home: string): Promise<void> {
  const policy = { default: [{ type: 'insecureAcceptAnything' }] };
  await writeFile(join(home, 'policy.json'), JSON.stringify(policy));
}
