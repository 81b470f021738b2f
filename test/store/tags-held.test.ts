import test from 'ava';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { parseTag } from '../../src/oci/reference.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { HOUR } from '../helpers/clock.ts';
import { Gate } from '../helpers/gate.ts';
import { buildImage, type Stored } from '../helpers/image.ts';
import { APP, ImageStore } from './image-store.ts';

const LATEST = parseTag('latest');

function digestOf({ manifest }: { readonly manifest: Stored }): Digest {
  return parseDigest(manifest.digest);
}

test('a tag of a manifest that is not held is not recorded', async (t) => {
  const store = await ImageStore.open(t);
  const image = buildImage({ seed: 1, layers: [100] });
  await store.catalog.recordTag(APP, LATEST, { digest: digestOf(image), checkedAt: 1 });
  t.is(await store.catalog.findTag(APP, LATEST), undefined);
  t.deepEqual(await store.catalog.listTags(APP), []);
  t.deepEqual(await store.catalog.tables.names.keys().all(), []);
});

test('a tag that is confirmed while its manifest is let go of goes with it', async (t) => {
  const store = await ImageStore.open(t);
  const { catalog } = store;
  const image = buildImage({ seed: 1, layers: [100] });
  await store.keep(image, { tags: ['v1'] });
  const gate = new Gate();
  const write = catalog.tables.write.bind(catalog.tables);
  catalog.tables.write = async (...batch) => {
    catalog.tables.write = write;
    await gate.pass();
    return write(...batch);
  };
  const releasing = catalog.evict(unitOf(APP, digestOf(image)));
  await gate.arrived();
  const record = { digest: digestOf(image), checkedAt: store.clock.now() };
  const recording = [parseTag('v1'), LATEST].map(async (tag) =>
    catalog.recordTag(APP, tag, record),
  );
  // Time enough to be written, were it not for the turns.
  for (let turn = 0; turn < 20; turn += 1) await catalog.listTags(APP);
  gate.open();
  t.deepEqual((await releasing).tags, [parseTag('v1')]);
  await Promise.all(recording);
  t.is(await catalog.findTag(APP, LATEST), undefined);
  t.deepEqual(await catalog.listTags(APP), []);
  t.deepEqual(await catalog.tables.names.keys().all(), []);
});

test('what a manifest was called earlier does not move a tag back', async (t) => {
  const store = await ImageStore.open(t);
  const { catalog } = store;
  const [older, newer] = ['older', 'newer'].map((seed) => buildImage({ seed, layers: [100] }));
  await store.keep(older!, { tags: [] });
  const heard = store.clock.now();
  store.clock.advance(1000);
  await store.keep(newer!, { tags: ['latest'] });
  const record = { digest: digestOf(newer!), checkedAt: store.clock.now() };
  const { mediaType, digest, size } = older!.manifest;
  await catalog.recordManifest(
    APP,
    {
      descriptor: { mediaType, digest: parseDigest(digest), size },
      successors: [],
      tags: [
        { tag: LATEST, checkedAt: heard },
        { tag: parseTag('old'), checkedAt: heard },
      ],
    },
    store.clock.now(),
  );
  t.deepEqual(await catalog.findTag(APP, LATEST), record);
  t.deepEqual(await catalog.listTags(APP), [LATEST, parseTag('old')]);
  t.deepEqual(await catalog.tagsOf({ target: APP, digest: record.digest }), [LATEST]);
});

test('a tag that was recorded while the clock ran ahead moves all the same', async (t) => {
  const store = await ImageStore.open(t);
  const [before, after] = ['before', 'after'].map((seed) => buildImage({ seed, layers: [100] }));
  store.clock.advance(HOUR);
  await store.keep(before!, { tags: ['latest'] });
  store.clock.advance(-HOUR);
  await store.keep(after!, { tags: ['latest'] });
  const record = { digest: digestOf(after!), checkedAt: store.clock.now() };
  t.deepEqual(await store.catalog.findTag(APP, LATEST), record);
  t.deepEqual(await store.catalog.tagsOf({ target: APP, digest: digestOf(before!) }), []);
});
