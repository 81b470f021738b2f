import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { EventEmitter } from 'node:events';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { runCommand } from '../../src/cli/program.ts';
import type { Config } from '../../src/config/config.ts';
import { startServer } from '../../src/server.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import {
  buildBlob,
  buildImage,
  MEDIA_TYPES,
  randomBytes,
  store,
  type Image,
  type Stored,
} from '../helpers/image.ts';
import { createConfig, TEST_TIMING } from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { chunkedLayer } from '../sync/bundle/framed-layer.ts';
import { rule, syncConfig } from '../sync/rules.ts';

const REPOSITORIES = ['library/web', 'library/api', 'library/store'];
const TAGS = ['stable', 'latest'];
/** So that a bundle of them has several parts. */
const LAYERS = [400_000, 90_000, 3_000];
const PART = '300KiB';

/** What all tags mean at one time, and the bundle that says so. */
export interface Generation {
  /** Images by repository and tag: `library/web/manifests/stable`. */
  readonly images: ReadonlyMap<string, Image>;
  /** Files, in order. */
  readonly parts: readonly string[];
}

/** How a command ended. */
export interface Ended {
  readonly code: number;
  readonly problems: string;
}

/** A connected mirror of which all tags move at once, and what makes bundles of it. */
export class ImportWorld {
  /** Of the site: it trusts the bundles of this world and has no link. */
  readonly siteConfig: Config;
  readonly #folder: string;
  readonly #registry: FakeRegistry;
  readonly #adminUrl: string;
  #generations = 0;

  static async open(
    scope: Pick<ExecutionContext, 'teardown'>,
    folder: string,
  ): Promise<ImportWorld> {
    const registry = await FakeRegistry.start(scope);
    const upstreams = { [UPSTREAM]: { url: registry.url } };
    const rules = REPOSITORIES.map((name) =>
      rule(name, { tags: { names: TAGS }, referrers: true }),
    );
    const sync = syncConfig(rules, { schedule: '0 0 1 1 *' });
    const server = await startServer(createConfig(join(folder, 'near'), { upstreams, sync }), {
      log: pino({ level: 'silent' }),
      timing: TEST_TIMING,
    });
    scope.teardown(async () => server.close());
    const key = join(folder, 'key');
    const made = await entrepot(folder, ['bundle', 'keygen', '--out', key]);
    if (made.code !== 0) throw new Error(made.problems);
    const file = { path: `${key}.pub`, pem: await readFile(`${key}.pub`, 'utf8') };
    const bundles = { trust: { near: { file, may: ['images' as const] } } };
    const siteConfig = createConfig(join(folder, 'site'), { upstreams, offline: true, bundles });
    return new ImportWorld({ folder, registry, adminUrl: server.adminUrl, siteConfig });
  }

  constructor(parts: {
    readonly folder: string;
    readonly registry: FakeRegistry;
    readonly adminUrl: string;
    readonly siteConfig: Config;
  }) {
    this.#folder = parts.folder;
    this.#registry = parts.registry;
    this.#adminUrl = parts.adminUrl;
    this.siteConfig = parts.siteConfig;
  }

  /** All tags mean other images from now on, of which a bundle is made for a site. */
  async next(inventory: string | undefined): Promise<Generation> {
    this.#generations += 1;
    const images = this.#publish(`generation ${this.#generations}`);
    const out = join(this.#folder, `bundle-${this.#generations}`);
    await mkdir(out);
    const args = ['bundle', 'create', '--key', join(this.#folder, 'key'), '--out', out];
    const forSite = inventory === undefined ? [] : ['--for', inventory];
    const command = [...args, '--split', PART, ...forSite];
    const { code, problems } = await entrepot(this.#folder, command, this.#adminUrl);
    if (code !== 0) throw new Error(`bundle create: ${problems}`);
    const parts = (await readdir(out)).toSorted().map((name) => join(out, name));
    return { images, parts };
  }

  /** `bundle import` into the site that answers there. */
  async import(adminUrl: string, { parts }: Generation, receipt: string): Promise<Ended> {
    const command = ['bundle', 'import', ...parts, '--receipt', receipt];
    return entrepot(this.#folder, command, adminUrl);
  }

  #publish(seed: string): Map<string, Image> {
    const images = new Map<string, Image>();
    for (const repository of REPOSITORIES) {
      const base = buildBlob(`base of ${repository}`, 200_000, MEDIA_TYPES.layer);
      for (const tag of TAGS) {
        const image = buildImage({
          seed: `${seed} of ${repository}:${tag}`,
          layers: [base, ...LAYERS, chunkedAs(`${seed} of ${repository}:${tag}`, repository)],
        });
        this.#registry.addImage(repository, tag, image);
        images.set(`${repository}/manifests/${tag}`, image);
      }
    }
    return images;
  }
}

/** A layer that a site makes of the one before: one of its files is another one each time. */
function chunkedAs(seed: string, repository: string): Stored {
  const files = [`files of ${repository}`, seed].map((name, at) => ({
    name: `usr/${at}`,
    bytes: randomBytes(name, at === 0 ? 60_000 : 2_000),
  }));
  return store(chunkedLayer(files).bytes, MEDIA_TYPES.layer);
}

/**
 * In this process, with a configuration that names the server, and a store that cannot be made: where the server
 * is gone already the command fails, and leaves no store of its own for the next one.
 */
async function entrepot(
  folder: string,
  args: readonly string[],
  adminUrl?: string,
): Promise<Ended> {
  const file = join(folder, 'command.yaml');
  const admin = adminUrl === undefined ? {} : { admin: new URL(adminUrl).host };
  await writeFile(file, JSON.stringify({ ...admin, store: { path: join(file, 'store') } }));
  let problems = '';
  const code = await runCommand(args, {
    env: { NO_COLOR: '1', ENTREPOT_CONFIG: file },
    cwd: folder,
    stdout: { write: () => undefined },
    stderr: { write: (text: string) => (problems += text) },
    signals: new EventEmitter(),
    kill: () => undefined,
  });
  return { code, problems };
}
