import { Agent } from 'node:http';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { get } from '../helpers/client.ts';
import type { Client, ImageName } from './client.ts';
import { chainId } from './layer-chain.ts';
import type { Netns } from './netns.ts';
import { until } from '../helpers/until.ts';

interface InspectedImage {
  readonly RootFS: { readonly Layers: readonly string[] };
}

/** Docker Engine with `registry-mirrors`: for docker.io only; or as its own files in /etc/docker say. */
export class Dockerd implements Client {
  /** Where it is asked. */
  readonly socket: string;
  readonly #root: string;
  readonly #agent: Agent;

  private constructor(root: string, socket: string) {
    this.socket = socket;
    this.#root = root;
    const options = { keepAlive: false, socketPath: socket };
    this.#agent = new Agent(options);
  }

  static async start(netns: Netns, mirror?: string): Promise<Dockerd> {
    const home = join(netns.directory, 'docker');
    await mkdir(home);
    // dockerd looks up the name of the registry on every pull, whoever it then asks.
    await netns.run('sh', '-c', 'echo 127.0.0.1 docker.io >>/etc/hosts');
    const settings = mirror === undefined ? '/etc/docker/daemon.json' : join(home, 'daemon.json');
    if (mirror !== undefined) {
      await writeFile(settings, JSON.stringify({ 'registry-mirrors': [mirror] }));
    }
    const socket = join(home, 'docker.sock');
    const service = await netns.start(
      'dockerd',
      'dockerd',
      `--config-file=${settings}`,
      `--data-root=${join(home, 'root')}`,
      `--exec-root=${join(home, 'exec')}`,
      `--pidfile=${join(home, 'pid')}`,
      `--host=unix://${socket}`,
      '--iptables=false',
      '--bridge=none',
      '--storage-driver=vfs',
    );
    const dockerd = new Dockerd(join(home, 'root'), socket);
    await until('dockerd to answer', async () => {
      await service.assertRunning();
      return dockerd.#ask('GET', '/_ping').catch(() => undefined);
    });
    return dockerd;
  }

  async pull({ repository, reference }: ImageName): Promise<string> {
    const query = new URLSearchParams({ fromImage: repository, tag: reference });
    const progress = await this.#ask('POST', `/images/create?${query.toString()}`);
    const failure = progress.split('\n').find((line) => line.includes('"error"'));
    if (failure) throw new Error(`docker pull: ${failure}`);

    const name = imageName(repository, reference);
    const inspected = await this.#ask('GET', `/images/${name}/json`);
    const { RootFS } = JSON.parse(inspected) as InspectedImage;
    const layer = chainId(RootFS.Layers).replace(':', '/');
    const layers = join(this.#root, 'image', 'vfs', 'layerdb');
    const directory = await readFile(join(layers, layer, 'cache-id'), 'utf8');
    return join(this.#root, 'vfs', 'dir', directory);
  }

  async remove({ repository, reference }: ImageName): Promise<void> {
    await this.#ask('DELETE', `/images/${imageName(repository, reference)}`);
  }

  async #ask(method: string, path: string): Promise<string> {
    const { status, body } = await get(`http://docker${path}`, { method, agent: this.#agent });
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${body.toString()}`);
    return body.toString();
  }
}

function imageName(repository: string, reference: string): string {
  return `${repository}${reference.includes(':') ? '@' : ':'}${reference}`;
}
