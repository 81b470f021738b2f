import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../helpers/until.ts';
import { formatImage, type ImageName } from './client.ts';
import type { Netns } from './netns.ts';

interface Programs {
  readonly buildkitd: string;
  readonly buildctl: string;
}

/** BuildKit as /etc/buildkit says; it builds images of one line. */
export class Buildkit {
  readonly #netns: Netns;
  readonly #home: string;
  readonly #programs: Programs;

  private constructor(netns: Netns, home: string, programs: Programs) {
    this.#netns = netns;
    this.#home = home;
    this.#programs = programs;
  }

  static async start(netns: Netns, programs: Programs): Promise<Buildkit> {
    const home = join(netns.directory, 'buildkit');
    await mkdir(home);
    const buildkit = new Buildkit(netns, home, programs);
    const service = await netns.start(
      'buildkitd',
      programs.buildkitd,
      `--root=${join(home, 'root')}`,
      `--addr=${buildkit.#address}`,
      '--oci-worker-snapshotter=native',
      '--oci-worker-net=host',
    );
    await until('buildkitd to answer', async () => {
      await service.assertRunning();
      return buildkit.#buildctl('debug', 'workers').catch(() => undefined);
    });
    return buildkit;
  }

  /** All of what it is made of comes to the disk. */
  async build(image: ImageName): Promise<void> {
    const folder = join(this.#home, image.registry.replace(':', '_'));
    await mkdir(folder);
    await writeFile(join(folder, 'Dockerfile'), `FROM ${formatImage(image)}\n`);
    const context = ['--local', `context=${folder}`, '--local', `dockerfile=${folder}`];
    const output = ['--output', `type=oci,dest=${join(folder, 'built.tar')}`];
    await this.#buildctl('build', '--frontend=dockerfile.v0', ...context, ...output);
  }

  get #address(): string {
    return `unix://${join(this.#home, 'buildkitd.sock')}`;
  }

  async #buildctl(...args: string[]): Promise<string> {
    return this.#netns.run(this.#programs.buildctl, `--addr=${this.#address}`, ...args);
  }
}
