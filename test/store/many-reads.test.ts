/** What is asked about many records at once: the same answers, in few reads, each of a limited length. */
import test, { type ExecutionContext } from 'ava';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { parseTag } from '../../src/oci/reference.ts';
import { readMany } from '../../src/store/catalog/many-records.ts';
import { Inventory } from '../../src/store/care/inventory.ts';
import { findImageFiles } from '../../sync/image-files.ts';
import { buildBlob, buildImage, buildIndex, type Index } from '../helpers/image.ts';
import { countReads } from './count-reads.ts';
import { APP, ImageStore } from './image-store.ts';

const LINUX = { os: 'linux' };

test('each key is read once, in byte order, a hundred at a time, and answered in the order of the keys', async (t) => {
  const numbers = Array.from({ length: 250 }, (_, n) => (n * 7) % 250);
  const keys = numbers.map((n) => String(n).padStart(3, '0'));
  const asked: string[][] = [];
  const values = await readMany([...keys, keys[0]!], async (some) => {
    asked.push(some);
    return some.map(Number);
  });
  t.deepEqual(values, [...numbers, numbers[0]]);
  t.deepEqual(asked.flat(), keys.toSorted());
  t.deepEqual(
    asked.map(({ length }) => length),
    [100, 100, 50],
  );
  t.deepEqual(await readMany([], async () => t.fail()), []);
});

test('records of many blobs and tags are those of each, known or not', async (t) => {
  const store = await ImageStore.open(t);
  const image = buildImage({ seed: 'many', layers: Array.from({ length: 120 }, () => 10) });
  await store.keep(image, { tags: ['v1', 'v2'] });
  const { catalog } = store;
  const unknown = parseDigest(buildBlob('unknown', 10).digest);
  const digests = [unknown, ...image.blobs.map(({ digest }) => parseDigest(digest)), unknown];
  const each = await Promise.all(digests.map(async (digest) => catalog.findBlob(digest)));
  t.true(each[0] === undefined && each.at(-2) !== undefined);
  t.deepEqual(await catalog.findBlobs(digests), each);
  const tags = ['v2', 'none', 'v1'].map(parseTag);
  const meanings = await Promise.all(tags.map(async (tag) => catalog.findTag(APP, tag)));
  t.deepEqual(await catalog.findTags(APP, tags), meanings);
  t.deepEqual(await catalog.provenOf(APP, digests), digests.slice(1, -1));
});

test('a damaged record spoils no other one', async (t) => {
  const store = await ImageStore.open(t);
  const image = buildImage({ seed: 'damaged', layers: [10, 20, 30] });
  await store.keep(image, { tags: ['v1', 'v2'] });
  const { catalog } = await store.reopen(t);
  const { tables } = catalog;
  const digests = image.layers.map(({ digest }) => parseDigest(digest));
  const raw = { valueEncoding: 'utf8' };
  await tables.db.put(tables.blobs.prefixKey(digests[1]!, 'utf8'), '{', raw);
  await tables.db.put(tables.tags.prefixKey('hub.example/app v1', 'utf8'), '{', raw);
  const sizes = (await catalog.findBlobs(digests)).map((record) => record?.size);
  t.deepEqual(sizes, [10, undefined, 30]);
  const [first, second] = await catalog.findTags(APP, ['v1', 'v2'].map(parseTag));
  t.is(first, undefined);
  t.is(second?.digest, parseDigest(image.manifest.digest));
});

interface Walked {
  readonly store: ImageStore;
  readonly index: Index;
  readonly node: { target: typeof APP; digest: Digest };
}

/** An index of so many platforms, each with so many layers, held whole. */
async function hold(t: ExecutionContext, platforms: number, layers: number): Promise<Walked> {
  const store = await ImageStore.open(t);
  const children = Array.from({ length: platforms }, (_, n) => ({
    image: buildImage({ seed: `p${n}`, layers: Array.from({ length: layers }, () => 10) }),
    platform: { ...LINUX, architecture: `a${n}` },
  }));
  const index = buildIndex(children);
  await store.keepManifest(index.manifest, { tags: ['v1'] });
  for (const { image } of children) await store.keep(image);
  // Nothing of it is in memory.
  const again = await store.reopen(t);
  return {
    store: again,
    index,
    node: { target: APP, digest: parseDigest(index.manifest.digest) },
  };
}

/** Walks over an image, and what each finds of it. */
const WALKS = {
  explain: async ({ store, node }: Walked): Promise<number> => {
    const { catalog, blobs, pins, clock } = store;
    const inventory = new Inventory({ catalog, blobs, pins, now: clock.now });
    const { manifests, state, bytes } = await inventory.explain(node);
    if (state !== 'complete' || bytes === 0) throw new Error(state);
    return manifests.reduce((sum, { held }) => sum + held.length, 0);
  },
  'what sync looks for': async ({ store: { catalog, blobs }, node }: Walked): Promise<number> => {
    const found = new Set<Digest>();
    const { missing } = await findImageFiles(
      { catalog, blobs, found: (digest) => found.add(digest) },
      node,
      { platforms: 'all', referrers: true },
    );
    if (missing.length > 0) throw new Error(`${missing.length} are missing`);
    return found.size;
  },
  'all that is below it': async ({ store, node }: Walked): Promise<number> =>
    (await store.catalog.below(node)).length,
  eviction: async ({ store, node }: Walked): Promise<number> => {
    const unit = `hub.example/app ${node.digest}`;
    return (await store.catalog.evict(unit)).blobs.length;
  },
};

const SINGLE = ['get', 'getMany', 'has', 'hasMany'];

for (const [what, walk] of Object.entries(WALKS)) {
  test(`${what}: an image of forty layers takes the reads of one of four`, async (t) => {
    const costOf = async (layers: number): Promise<{ reads: number; found: number }> => {
      const walked = await hold(t, 1, layers);
      const reads = countReads(walked.store, SINGLE);
      const found = await walk(walked);
      return { reads: reads(), found };
    };
    const [few, many] = [await costOf(4), await costOf(40)];
    t.is(many.found - few.found, what === 'all that is below it' ? 0 : 36);
    t.is(many.reads, few.reads);
  });
}

test('all that is below an index: ten platforms take the reads of two', async (t) => {
  const costOf = async (platforms: number): Promise<number> => {
    const walked = await hold(t, platforms, 2);
    const reads = countReads(walked.store, SINGLE);
    t.is(await WALKS['all that is below it'](walked), platforms + 1);
    return reads();
  };
  t.is(await costOf(10), await costOf(2));
});
