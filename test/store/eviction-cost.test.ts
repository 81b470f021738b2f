/** What an eviction costs, in reads of the catalog: no more with ten times the pins or the images that stay. */
import test, { type ExecutionContext } from 'ava';
import { parseTag } from '../../src/oci/reference.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { countReads } from './count-reads.ts';
import { APP, ImageStore, targetOf } from './image-store.ts';

const OTHER = targetOf('hub.example/other');
const SIZE = 10_000;

/** A store with so many small pinned images, the oldest, and six others, which fill it. */
async function fill(
  t: ExecutionContext,
  { pinned }: { pinned: number },
): Promise<{ store: ImageStore; pins: Image[]; others: Image[] }> {
  const store = await ImageStore.open(t);
  const make = (name: string, size: number): Image => {
    const image = buildImage({ seed: name, layers: [size] });
    store.name(image, name);
    return image;
  };
  const pins = Array.from({ length: pinned }, (_, n) => make(`pinned ${n}`, 10));
  for (const image of pins) await store.keep(image, { target: OTHER });
  const others = Array.from({ length: 6 }, (_, n) => make(`i${n}`, SIZE));
  for (const image of others) await store.keep(image);
  await store.pins.replace(
    'sync',
    pins.map(({ manifest }) => ({
      origin: 'sync',
      image: `hub.example/other@${manifest.digest}`,
      since: 1,
    })),
  );
  return { store, pins, others };
}

/** Reads of one eviction after the survey is made. */
async function costOf(t: ExecutionContext, pinned: number): Promise<number> {
  const { store } = await fill(t, { pinned });
  await store.budget.evict(0);
  const reads = countReads(store);
  await store.budget.evict(1);
  t.deepEqual(store.evicted, [['i0', 'request']]);
  return reads();
}

test('pins are looked up once, and not for each eviction', async (t) => {
  t.is(await costOf(t, 50), await costOf(t, 5));
});

test('what changes in a repository without pins looks no pin up again', async (t) => {
  const { store } = await fill(t, { pinned: 30 });
  await store.budget.evict(0);
  const quiet = countReads(store);
  await store.budget.evict(0);
  const cost = quiet();
  const image = buildImage({ seed: 'more', layers: [10] });
  await store.keep(image);
  const before = quiet();
  await store.budget.evict(0);
  t.is(quiet() - before, cost);
});

test('a tag that is pinned and moves is looked up again, and no other repository is', async (t) => {
  const { store, others } = await fill(t, { pinned: 30 });
  const [first, second] = others as [Image, Image];
  await store.pin('hub.example/app:stable');
  const tag = parseTag('stable');
  const move = async ({ manifest }: Image): Promise<void> => {
    store.clock.advance(1);
    const checkedAt = store.clock.now();
    const digest = parseDigest(manifest.digest);
    await store.catalog.recordTag(APP, tag, { digest, checkedAt });
  };
  await move(first);
  t.deepEqual(
    (await store.budget.plan(1)).images.map(({ digest }) => store.nameOf(digest)),
    ['i1'],
  );
  await move(second);
  const reads = countReads(store);
  const { images } = await store.budget.plan(1);
  t.deepEqual(
    images.map(({ digest }) => store.nameOf(digest)),
    ['i0'],
  );
  t.true(reads() < 100, `${reads()} reads`);
});

test('an admission that evicts walks over the images once', async (t) => {
  const { store } = await fill(t, { pinned: 3 });
  const limited = store.limit(store.catalog.usage.bytes);
  const { catalog } = store;
  const oldest = catalog.oldest.bind(catalog);
  let walks = 0;
  catalog.oldest = () => {
    walks += 1;
    return oldest();
  };
  using room = await limited.admit(3 * SIZE);
  for (let n = 0; n < 3; n += 1) {
    await room.take(SIZE);
    room.wrote(SIZE);
  }
  t.deepEqual(
    store.evicted.map(([name]) => name),
    ['i0', 'i1', 'i2'],
  );
  await limited.evict(0);
  t.is(walks - 1, 1);
});

test('pins of one origin are replaced in one write, however many they are', async (t) => {
  const { store } = await fill(t, { pinned: 1 });
  const write = store.catalog.tables.write.bind(store.catalog.tables);
  let writes = 0;
  store.catalog.tables.write = async (...args) => {
    writes += 1;
    return write(...args);
  };
  const pins = (count: number, reason: string) =>
    Array.from({ length: count }, (_, n) => ({
      origin: 'use:file',
      image: `hub.example/app:v${n}`,
      reason,
      since: 1,
    }));
  await store.pins.replace('use:file', pins(500, 'a'));
  t.is(writes, 1);
  await store.pins.replace('use:file', pins(400, 'b'));
  t.is(writes, 2);
  await store.pins.replace('use:file', pins(400, 'b'));
  t.is(writes, 2);
  const kept = (await store.catalog.listPins()).filter(({ origin }) => origin === 'use:file');
  t.is(kept.length, 400);
  t.true(kept.every(({ reason }) => reason === 'b'));
  t.is(store.pins.list().filter(({ origin }) => origin === 'use:file').length, 400);
});
