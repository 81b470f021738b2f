import { copyFile, mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { OTHER_REGISTRY } from './images.ts';
import { Mirror, type Outcome } from './mirror.ts';
import { Netns } from './netns.ts';
import type { World } from './world.ts';

const KEY = 'bundles.key';
/** Of the registries; nobody listens there on the far side. */
const NOWHERE = 'http://127.0.0.1:5000';

interface FarSettings {
  /** What bundles may bring. */
  readonly may?: readonly string[];
  /** Beside those that every site has, with this folder. */
  readonly settings?: (directory: string) => object;
}

/**
 * A site that no link leads to, and the connected side that makes bundles for it: two machines that
 * reach nothing but themselves. Files go from one to the other by hand. Gone after the test.
 */
export class FarSite {
  readonly netns: Netns;
  readonly mirror: Mirror;
  readonly #near: World;

  private constructor(netns: Netns, mirror: Mirror, near: World) {
    this.netns = netns;
    this.mirror = mirror;
    this.#near = near;
  }

  /** Trusts a key that the connected side has made for its bundles. `prepare`: in its folder, before it starts. */
  static async start(
    t: ExecutionContext,
    near: World,
    { prepare, ...more }: { prepare?: (directory: string) => Promise<void> } & FarSettings = {},
  ): Promise<FarSite> {
    const netns = await Netns.create();
    await prepare?.(netns.directory);
    t.teardown(async () => netns.close());
    await mkdir(join(netns.directory, 'courier'));
    await mkdir(join(near.netns.directory, 'courier'));
    const key = join(near.netns.directory, KEY);
    await near.mirror.tool('bundle', 'keygen', '--out', key);
    await copyFile(`${key}.pub`, join(netns.directory, `${KEY}.pub`));
    const mirror = await Mirror.start(netns, {
      offline: true,
      upstreams: { 'docker.io': { url: NOWHERE }, [OTHER_REGISTRY]: { url: NOWHERE } },
      bundles: { trust: { near: { file: join(netns.directory, `${KEY}.pub`), may: more.may } } },
      ...more.settings?.(netns.directory),
    });
    t.teardown(async () => {
      if (!t.passed) t.log(await mirror.log());
    });
    return new FarSite(netns, mirror, near);
  }

  /** `bundle create` on the connected side; the file that it wrote. */
  async create(name: string, ...args: readonly string[]): Promise<string> {
    const { directory } = this.#near.netns;
    const out = join(directory, 'courier', name);
    const key = join(directory, KEY);
    const made = await this.#near.mirror.command(
      'bundle',
      'create',
      ...args,
      '--key',
      key,
      '--out',
      out,
    );
    if (made.code !== 0) throw new Error(`bundle create: ${made.output}${made.problems}`);
    return out;
  }

  /** `bundle import` of a file of the connected side, carried over first; the receipt is carried back. */
  async import(bundle: string): Promise<Outcome & { readonly receipt: string }> {
    const here = join(this.netns.directory, 'courier', basename(bundle));
    await copyFile(bundle, here);
    const receipt = `${here}.receipt`;
    const imported = await this.mirror.command('bundle', 'import', here, '--receipt', receipt);
    return { ...imported, receipt: imported.code === 0 ? await this.#carryBack(receipt) : '' };
  }

  /** What the site holds now, as a file of the connected side. */
  async inventory(): Promise<string> {
    const out = join(this.netns.directory, 'courier', 'inventory');
    const made = await this.mirror.command('inventory', '--out', out);
    if (made.code !== 0) throw new Error(`inventory: ${made.output}${made.problems}`);
    return this.#carryBack(out);
  }

  async #carryBack(path: string): Promise<string> {
    const there = join(this.#near.netns.directory, 'courier', basename(path));
    await copyFile(path, there);
    return there;
  }
}
