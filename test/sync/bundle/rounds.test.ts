/** Bundles that go to a site, and inventories that come back: each round carries what the site lacks. */
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import type { BundleManifest } from '../../../sync/bundle/bundle-manifest.ts';
import { buildImage, type Stored } from '../../helpers/image.ts';
import { blobPath, type TestMirror } from '../../helpers/mirror.ts';
import { bring, pull, startAirGapped, trusted } from './brought-bundle.ts';
import { Connected } from './connected.ts';
import { addIndexed, APP, filesOf, REPOSITORY, sorted } from './draft-world.ts';
import { readBundlePart } from './read-bundle.ts';
import { fetchInventory, readSite } from './read-site.ts';

const BASE = buildImage({ seed: 'base', layers: [3000, 2000] });
const CHANGED = buildImage({ seed: 'changed', layers: [BASE.layer(0), 700] });
const OTHER = buildImage({ seed: 'other', layers: [BASE.layer(1), 900] });

class Rounds {
  readonly sender: Connected;
  readonly site: TestMirror;
  readonly #t: ExecutionContext;
  #count = 0;

  static async start(t: ExecutionContext): Promise<Rounds> {
    const sender = await Connected.start(t);
    const trust = { maker: trusted(sender.key) };
    return new Rounds(t, sender, await startAirGapped(t, { bundles: { trust } }));
  }

  private constructor(t: ExecutionContext, sender: Connected, site: TestMirror) {
    this.#t = t;
    this.sender = sender;
    this.site = site;
  }

  /** Makes a bundle from what the site holds now, or from an older inventory; nothing where all is there. */
  async make(
    tags: readonly string[],
    inventory?: Buffer,
  ): Promise<{ manifest: BundleManifest; part: Buffer } | undefined> {
    const { sender } = this;
    const name = `round-${(this.#count += 1)}.tar`;
    sender.write('site.inventory', inventory ?? (await fetchInventory(this.#t, this.site)));
    const images = tags.map((tag) => `${APP}:${tag}`);
    const made = await sender.create(...images, '--for', 'site.inventory', '--out', name, '--json');
    this.#t.is(made.code, 0, made.stderr);
    try {
      const { manifest } = await readBundlePart(sender.path(name));
      return { manifest, part: readFileSync(sender.path(name)) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async bring(part: Buffer): Promise<void> {
    const { status, body } = await bring(this.site, part);
    this.#t.is(status, 200, JSON.stringify(body));
  }
}

function whole(...files: readonly Stored[]): unknown {
  return sorted(files);
}

test('a round carries what the site lacks, and what was lost on the way comes with the next one', async (t) => {
  const rounds = await Rounds.start(t);
  const { registry } = rounds.sender;
  const series = rounds.sender.mirror.server.store.id!;
  registry.addImage(REPOSITORY, 'v1', BASE);
  const first = await rounds.make(['v1']);
  t.deepEqual(first?.manifest.blobs, filesOf(BASE));
  await rounds.bring(first!.part);
  const site = await readSite(t, rounds.site);
  t.deepEqual([...site.complete], [BASE.manifest.digest as never]);
  t.deepEqual(site.applied, new Map([[series, 1]]));
  t.is(await rounds.make(['v1']), undefined);

  registry.addImage(REPOSITORY, 'v1', CHANGED);
  const lost = await rounds.make(['v1']);
  t.deepEqual(lost?.manifest.blobs, whole(CHANGED.manifest, CHANGED.config, CHANGED.layer(1)));
  t.deepEqual(lost?.manifest.needs, whole(BASE.layer(0)));

  registry.addImage(REPOSITORY, 'v2', OTHER);
  const next = await rounds.make(['v1', 'v2']);
  const blobs = [CHANGED.manifest, CHANGED.config, CHANGED.layer(1)];
  t.deepEqual(next?.manifest.blobs, whole(...blobs, OTHER.manifest, OTHER.config, OTHER.layer(1)));
  t.deepEqual(next?.manifest.needs, whole(...BASE.layers));
  await rounds.bring(next!.part);
  for (const [tag, image] of [
    ['v1', CHANGED],
    ['v2', OTHER],
  ] as const) {
    t.deepEqual((await pull(rounds.site, REPOSITORY, tag)).body, image.manifest.bytes);
  }
  t.is((await readSite(t, rounds.site)).applied.get(series), next?.manifest.number);
  t.is(await rounds.make(['v1', 'v2']), undefined);
});

test('platforms, signatures and what is attached are not sent twice', async (t) => {
  const rounds = await Rounds.start(t);
  addIndexed(rounds.sender.registry);
  const first = await rounds.make(['multi']);
  await rounds.bring(first!.part);
  t.is(await rounds.make(['multi']), undefined);
});

test('a file that the site has lost since is sent again, and no other', async (t) => {
  const rounds = await Rounds.start(t);
  rounds.sender.registry.addImage(REPOSITORY, 'v1', BASE);
  const first = await rounds.make(['v1']);
  await rounds.bring(first!.part);
  await rm(blobPath(rounds.site.storePath, BASE.layer(1).digest));
  const next = await rounds.make(['v1']);
  t.deepEqual(next?.manifest.blobs, whole(BASE.layer(1)));
  t.deepEqual(next?.manifest.needs, whole(BASE.manifest, BASE.config, BASE.layer(0)));
  await rounds.bring(next!.part);
  t.is(await rounds.make(['v1']), undefined);
});
