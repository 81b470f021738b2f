import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatImage } from './client.ts';
import type { Client, ImageName } from './client.ts';
import type { Netns } from './netns.ts';
import { until } from '../helpers/until.ts';

const SNAPSHOTTER = ['--snapshotter', 'native'];

interface Mount {
  readonly Source: string;
}

interface Programs {
  readonly containerd: string;
  readonly ctr: string;
  /** Of `ctr images pull`, beside those that every version has. */
  readonly pullFlags: readonly string[];
  /** What stands in the configuration of the daemon besides. */
  readonly settings?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** containerd with a `hosts.toml` for every registry, or those of /etc/containerd: it names the registry by `?ns=`. */
export class Containerd implements Client {
  /** Where it is asked. */
  readonly socket: string;
  /** The folder with the files of its mirrors. */
  readonly hosts: string;
  readonly #netns: Netns;
  readonly #programs: Programs;
  #views = 0;

  private constructor(netns: Netns, socket: string, hosts: string, programs: Programs) {
    this.#netns = netns;
    this.socket = socket;
    this.hosts = hosts;
    this.#programs = programs;
  }

  static async start(
    netns: Netns,
    mirror: string | undefined,
    programs: Programs = { containerd: 'containerd', ctr: 'ctr', pullFlags: [] },
  ): Promise<Containerd> {
    const home = join(netns.directory, 'containerd');
    const hosts = mirror === undefined ? '/etc/containerd/certs.d' : join(home, 'certs.d');
    await mkdir(join(home, 'certs.d', '_default'), { recursive: true });
    await writeFile(
      join(home, 'certs.d', '_default', 'hosts.toml'),
      `[host."${mirror}"]\ncapabilities = ["pull", "resolve"]\n`,
    );
    const socket = join(home, 'containerd.sock');
    const settings = join(home, 'config.toml');
    await writeFile(
      settings,
      `version = 2
root = "${join(home, 'root')}"
state = "${join(home, 'state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "${socket}"
${programs.settings ?? ''}
`,
    );
    const env = Object.entries(programs.env ?? {}).map(([name, value]) => `${name}=${value}`);
    const command = [...env, programs.containerd, '--config', settings];
    const service = await netns.start('containerd', 'env', ...command);
    const containerd = new Containerd(netns, socket, hosts, programs);
    await until('containerd to answer', async () => {
      await service.assertRunning();
      return containerd.ctr('version').catch(() => undefined);
    });
    return containerd;
  }

  async pull(image: ImageName): Promise<string> {
    const { pullFlags } = this.#programs;
    const flags = ['--print-chainid', ...SNAPSHOTTER, '--hosts-dir', this.hosts, ...pullFlags];
    const progress = await this.ctr('images', 'pull', ...flags, formatImage(image));
    const [, chain] = /^image chain ID: (\S+)$/m.exec(progress) ?? [];
    if (chain === undefined) throw new Error(`ctr images pull: ${progress}`);
    // The native snapshotter shows a view in the directory of what is viewed. The view itself is
    // garbage from the start and goes with the image.
    const key = `view-${++this.#views}`;
    const mounts = await this.ctr('snapshots', ...SNAPSHOTTER, 'view', '--mounts', key, chain);
    return (JSON.parse(mounts) as readonly Mount[])[0]!.Source;
  }

  async remove(image: ImageName): Promise<void> {
    await this.ctr('images', 'rm', '--sync', formatImage(image));
  }

  /** Loads an archive of images, and unpacks those of this machine's platform. */
  async load(archive: string): Promise<void> {
    await this.ctr('images', 'import', ...SNAPSHOTTER, archive);
  }

  /** Digest of each image that it has, by its name. */
  async images(): Promise<Map<string, string>> {
    const table = await this.ctr('images', 'ls');
    const rows = table.trim().split('\n').slice(1);
    return new Map(
      rows.map((row) => {
        const [name = '', , digest = ''] = row.split(/\s+/);
        return [name, digest];
      }),
    );
  }

  /** Of an image, as it says itself: whether all content is there, and whether it is unpacked. */
  async check(image: ImageName): Promise<{ isComplete: boolean; isUnpacked: boolean }> {
    const filter = `name==${formatImage(image)}`;
    const table = await this.ctr('images', 'check', ...SNAPSHOTTER, filter);
    return { isComplete: /\bcomplete \(/.test(table), isUnpacked: /\btrue\s*$/.test(table) };
  }

  /** `ctr …`, as its user types it. */
  async ctr(...args: readonly string[]): Promise<string> {
    return this.#netns.run(this.#programs.ctr, '--address', this.socket, ...args);
  }
}
