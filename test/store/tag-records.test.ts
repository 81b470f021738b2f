import test, { type ExecutionContext } from 'ava';
import { cosignTags } from '../../src/oci/cosign.ts';
import { parseTag, type Tag } from '../../src/oci/reference.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { digest, entry, targetOf } from './catalog-contract.ts';

const APP = targetOf('app');
const [V1, V2, V3] = ['v1', 'v2', 'v3'].map(parseTag) as [Tag, Tag, Tag];

async function open(t: ExecutionContext, path: string): Promise<LevelCatalog> {
  const catalog = await LevelCatalog.open(path, { durability: 'rename' });
  t.teardown(async () => catalog.close());
  return catalog;
}

/** Tags of `length` characters. */
function tagsOf(count: number, length = 6): Tag[] {
  return Array.from({ length: count }, (_, place) => parseTag(String(place).padStart(length, '0')));
}

test("a list of tags outlives the process, is its repository's alone, and may be empty or removed", async (t) => {
  const path = await createTempFolder(t);
  const first = await open(t, path);
  await first.recordTagList(APP, [V1, V2], 1);
  await first.recordTagList(targetOf('app', 'other.example'), [], 1);
  await first.close();
  const catalog = await open(t, path);
  t.deepEqual(await catalog.findTagList(APP), [V1, V2]);
  t.deepEqual(await catalog.findTagList(targetOf('app', 'other.example')), []);
  t.is(await catalog.findTagList(targetOf('app/app')), undefined);
  await catalog.recordTagList(APP, undefined, 2);
  t.is(await catalog.findTagList(APP), undefined);
});

test('a list is written when it has changed, and only then', async (t) => {
  const catalog = await open(t, await createTempFolder(t));
  let writes = 0;
  const { tables } = catalog;
  const write = tables.write.bind(tables);
  tables.write = async (...written) => {
    writes += 1;
    return write(...written);
  };
  for (const tags of [[V1], [V1], [V1, V2], [V1, V2], [V1, V3], undefined, undefined]) {
    await catalog.recordTagList(APP, tags, 1);
  }
  t.is(writes, 4);
});

test('a list that is too long is not kept, nor is the one before it', async (t) => {
  const catalog = await open(t, await createTempFolder(t));
  for (const tags of [tagsOf(20_001), tagsOf(6_000, 100)]) {
    await catalog.recordTagList(APP, [V1], 1);
    await catalog.recordTagList(APP, tags, 2);
    t.is(await catalog.findTagList(APP), undefined);
  }
  await catalog.recordTagList(APP, tagsOf(20_000), 3);
  t.is((await catalog.findTagList(APP))?.length, 20_000);
});

test('of too many lists, or too many bytes of them, those that have not changed for longest go', async (t) => {
  const catalog = await open(t, await createTempFolder(t));
  await catalog.tables.write((batch) => {
    for (let place = 0; place < 2_000; place += 1) {
      const key = `registry.example/r${place}`;
      batch.put(key, [V1], { sublevel: catalog.tables.lists });
      batch.put(key, { at: 10_000 - place, bytes: 5 }, { sublevel: catalog.tables.listed });
    }
  });
  const left = async (): Promise<string[]> => catalog.tables.listed.keys().all();
  await catalog.recordTagList(APP, [V1], 20_000);
  t.is((await left()).length, 2_000);
  t.is(await catalog.findTagList(targetOf('r1999')), undefined);
  t.deepEqual(await catalog.findTagList(targetOf('r1998')), [V1]);
  await catalog.recordTagList(targetOf('r1998'), [V2], 30_000);
  const large = tagsOf(5_000, 100);
  for (let place = 0; place < 66; place += 1) {
    await catalog.recordTagList(targetOf(`large${place}`), large, 40_000 + place);
  }
  t.is((await left()).length, 65);
  t.is(await catalog.findTagList(APP), undefined);
  t.is(await catalog.findTagList(targetOf('large0')), undefined);
  t.truthy(await catalog.findTagList(targetOf('large1')));
});

test('the eviction of a tag that its list lacks takes the list, of one that it has leaves it', async (t) => {
  const catalog = await open(t, await createTempFolder(t));
  for (const [tag, isLeft] of [
    [V1, true],
    [V3, false],
  ] as const) {
    await catalog.recordTagList(APP, [V1, V2], 1);
    await catalog.recordManifest(APP, entry(tag, { tags: [{ tag, checkedAt: 2 }] }), 2);
    await catalog.evict(unitOf(APP, digest(tag)));
    t.deepEqual(await catalog.findTagList(APP), isLeft ? [V1, V2] : undefined);
  }
  t.deepEqual(await catalog.tables.listed.keys().all(), []);
});

test('that an image was searched is forgotten with it, and with any of what was found', async (t) => {
  const catalog = await open(t, await createTempFolder(t));
  const image = { target: APP, digest: digest('image') };
  const [tag] = cosignTags(image.digest);
  await catalog.recordSearch(image);
  t.false(await catalog.wasSearched(image), 'it is not held');
  await catalog.recordManifest(APP, entry('image'), 1);
  await catalog.recordManifest(APP, entry('sig', { tags: [{ tag: tag!, checkedAt: 1 }] }), 1);
  await catalog.recordSearch(image);
  t.true(await catalog.wasSearched(image));
  t.false(await catalog.wasSearched({ ...image, target: targetOf('other') }));
  await catalog.evict(unitOf(APP, digest('sig')));
  t.false(await catalog.wasSearched(image));
  await catalog.recordSearch(image);
  await catalog.evict(unitOf(APP, image.digest));
  t.false(await catalog.wasSearched(image));
});
