import test, { type ExecutionContext } from 'ava';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ImageReport, ImageSummary } from '../../src/api/store-api.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { nodeOf, unitOf } from '../../src/store/catalog/catalog.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { get } from '../helpers/client.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { REPOSITORY, startScene, UPSTREAM, type Scene } from '../helpers/scene.ts';
import { countReads } from './count-reads.ts';
import { APP, ImageStore } from './image-store.ts';

const BEFORE = fileURLToPath(new URL('fixtures/format-2-uses', import.meta.url));

async function list({ mirror }: Scene, query = ''): Promise<[tags: string, pulls: number][]> {
  const { body } = await get(`${mirror.server.adminUrl}/api/v1/images${query}`);
  const { images } = JSON.parse(body.toString()) as { images: ImageSummary[] };
  return images.map(({ tags, pulls }) => [tags.join(', '), pulls]);
}

test('each fetch of a manifest is a pull of its image; what only asks, and blobs, are none', async (t) => {
  const scene = await startScene(t);
  const { registry, manifest, blob, image, mirror } = scene;
  registry.addImage(REPOSITORY, 'other', buildImage({ seed: 'other', layers: [10] }));
  await manifest('other');
  t.deepEqual(await list(scene), [['other', 1]]);
  for (const reference of ['latest', 'latest', image.manifest.digest]) await manifest(reference);
  await manifest('latest', { method: 'HEAD' });
  for (const layer of image.layers) await blob(layer);
  t.deepEqual(await list(scene), [
    ['latest', 3],
    ['other', 1],
  ]);
  await manifest('other');
  await manifest('other');
  await manifest('other');
  t.deepEqual(await list(scene, '?sort=pulls'), [
    ['other', 4],
    ['latest', 3],
  ]);
  t.deepEqual(await list(scene, '?sort=pulls&limit=1'), [['other', 4]]);
  const name = `${UPSTREAM}/${REPOSITORY}:other`;
  const { body } = await get(`${mirror.server.adminUrl}/api/v1/explain?image=${name}`);
  t.is((JSON.parse(body.toString()) as ImageReport).pulls, 4);
});

/** What is written from now on, in batches. */
function countWrites({ catalog }: ImageStore): () => number {
  const { tables } = catalog;
  const write = tables.write.bind(tables);
  let writes = 0;
  tables.write = async (...args) => {
    writes += 1;
    await write(...args);
  };
  return () => writes;
}

test('a pull is counted in memory: no read and no write before the last pulls are written, with which it goes', async (t) => {
  const store = await ImageStore.open(t);
  const image = buildImage({ seed: 'app', layers: [10] });
  await store.keep(image);
  const digest = parseDigest(image.manifest.digest);
  const [reads, writes] = [countReads(store), countWrites(store)];
  for (let pulls = 0; pulls < 500; pulls += 1) store.access.note(APP, digest, 1);
  t.deepEqual([reads(), writes()], [0, 0]);
  await store.access.flush();
  t.is(writes(), 1);
  t.is(await store.catalog.countPulls({ target: APP, digest }), 500);
});

async function firstUnit(t: ExecutionContext, catalog: LevelCatalog): Promise<string> {
  for await (const { target, digest } of catalog.manifests()) return unitOf(target, digest);
  return t.fail('no manifest is held');
}

test('a store of a program that counted no pulls counts from zero', async (t) => {
  const path = await createTempFolder(t);
  await cp(BEFORE, path, { recursive: true });
  const catalog = await LevelCatalog.open(join(path, 'catalog'), { durability: 'rename' });
  t.teardown(async () => catalog.close());
  const unit = await firstUnit(t, catalog);
  const node = nodeOf(unit)!;
  t.is(await catalog.countPulls(node), 0);
  await catalog.recordAccess(new Map([[unit, { at: Date.now(), count: 1 }]]));
  t.is(await catalog.countPulls(node), 1);
});
