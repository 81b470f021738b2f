import { setImmediate as nextTurn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseTag } from '../../src/oci/reference.ts';
import type { EvictionResult } from '../../src/store/care/care.ts';
import { Gate } from '../helpers/gate.ts';
import {
  MEDIA_TYPES,
  buildArtifact,
  buildBlob,
  buildImage,
  buildIndex,
  descriptorOf,
  fallbackTag,
  storeJson,
  type Image,
  type Stored,
} from '../helpers/image.ts';
import { knownKeys } from './known-keys.ts';
import { APP, ImageStore, targetOf, told } from './image-store.ts';

const OTHER = targetOf('hub.example/other');
const ELSEWHERE = targetOf('ghcr.io/app');
const AMD = { os: 'linux', architecture: 'amd64' };
const ARM = { os: 'linux', architecture: 'arm64' };

function image(store: ImageStore, name: string, layers: readonly number[] = [1000]): Image {
  const built = buildImage({ seed: name, layers });
  store.name(built, name);
  return built;
}

/** An image whose layers are given. */
function imageOf(store: ImageStore, name: string, layers: readonly Stored[]): Image {
  const config = storeJson({ name }, MEDIA_TYPES.config);
  const manifest = storeJson(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: descriptorOf(config),
      layers: layers.map(descriptorOf),
    },
    MEDIA_TYPES.manifest,
  );
  const built = { manifest, config, layers, layer: () => config, blobs: [config, ...layers] };
  store.name(built, name);
  return built;
}

function sizeOf({ manifest, blobs }: Image): number {
  return blobs.reduce((sum, { size }) => sum + size, manifest.size);
}

/** Collects, and holds the plan to what then happened. */
async function collect(
  t: ExecutionContext,
  store: ImageStore,
  bytes?: number,
): Promise<{ went: string[]; kept: string[] }> {
  const plan = await store.budget.plan(bytes);
  const done = await store.budget.evict(bytes);
  t.deepEqual(done, plan);
  const freed = done.images.reduce((sum, each) => sum + each.bytes, 0);
  t.true(freed >= done.wantedBytes || bytes === Infinity || done.kept.length > 0);
  return told(store, done);
}

test('the image that was not pulled for longest goes first, whichever of its members was pulled', async (t) => {
  const store = await ImageStore.open(t);
  const [byDigest, byLayer, untouched, multi] = ['digest', 'layer', 'untouched', 'multi'].map(
    (name) => image(store, name),
  ) as [Image, Image, Image, Image];
  const platform = image(store, 'platform');
  const index = buildIndex([{ image: platform, platform: AMD }]);
  store.nameBlob(index.manifest, 'index');
  await store.keep(byDigest);
  await store.keep(byLayer, { tags: ['layer'] });
  await store.keepManifest(index.manifest, { tags: ['index'] });
  await store.keep(platform);
  await store.keep(untouched, { tags: ['untouched'] });
  await store.keep(multi, { tags: ['multi'] });
  store.pull(platform.manifest);
  store.pull(byLayer.layer(0));
  store.pull(byDigest.manifest);
  t.deepEqual(await collect(t, store, Infinity), {
    went: ['untouched', 'multi', 'index', 'layer', 'digest'],
    kept: [],
  });
  t.deepEqual(await store.held(), []);
  t.deepEqual(await knownKeys(store.catalog.tables), ['!meta!schema']);
});

test('the collection says what went, what that freed, and stops when it is enough', async (t) => {
  const store = await ImageStore.open(t);
  const [first, second, third] = ['first', 'second', 'third'].map((name) => image(store, name));
  for (const each of [first!, second!, third!]) await store.keep(each, { tags: ['v1', 'v2'] });
  const start = store.clock.now() - 2;
  const done = await store.budget.evict(sizeOf(first!) + 1);
  const line = (each: Image, tags: string[], lastPulledAt: number): object => ({
    image: 'hub.example/app',
    digest: each.manifest.digest,
    tags,
    lastPulledAt,
    blobs: 3,
    bytes: sizeOf(each),
  });
  t.deepEqual(done, {
    wantedBytes: sizeOf(first!) + 1,
    // The tags moved on to the third one.
    images: [line(first!, [], start), line(second!, [], start + 1)],
    kept: [],
  } as unknown as EvictionResult);
  t.deepEqual(store.evicted, [
    ['first', 'request'],
    ['second', 'request'],
  ]);
  t.deepEqual(store.collections, [done]);
  t.deepEqual(await store.held(), ['third', 'third.0', 'third.config']);
});

for (const [where, target] of [
  ['within a repository', APP],
  ['across repositories', OTHER],
  ['across upstreams', ELSEWHERE],
] as const) {
  test(`shared layers ${where} are counted once and go with their last holder`, async (t) => {
    const store = await ImageStore.open(t);
    const shared = buildBlob('shared', 5000);
    store.nameBlob(shared, 'shared');
    const [a, b] = [imageOf(store, 'a', [shared]), imageOf(store, 'b', [shared])];
    await store.keep(a, { tags: ['a'] });
    await store.keep(b, { tags: ['b'], target });
    t.is(store.catalog.usage.bytes, sizeOf(a) + sizeOf(b) - shared.size);
    const plan = await store.budget.plan(Infinity);
    t.deepEqual(
      plan.images.map(({ bytes, blobs }) => [bytes, blobs]),
      [
        [sizeOf(a) - shared.size, 2],
        [sizeOf(b), 3],
      ],
    );
    t.deepEqual((await collect(t, store, 1)).went, ['a']);
    t.deepEqual(await store.held(), ['b', 'b.config', 'shared']);
    t.deepEqual((await collect(t, store, 1)).went, ['b']);
    t.deepEqual(await store.held(), []);
  });
}

test('the same image in two repositories goes from each by itself', async (t) => {
  const store = await ImageStore.open(t);
  const app = image(store, 'app');
  await store.keep(app, { tags: ['v1'] });
  await store.keep(app, { tags: ['v1'], target: OTHER });
  store.pull(app.manifest);
  const plan = await store.budget.plan(1);
  t.deepEqual(
    plan.images.map(({ image: name, bytes }) => [name, bytes]),
    [
      ['hub.example/other', 0],
      ['hub.example/app', sizeOf(app)],
    ],
  );
  await store.catalog.evict(`hub.example/other ${app.manifest.digest}`);
  t.deepEqual(await store.manifests(), ['hub.example/app app']);
  t.deepEqual(await store.held(), ['app', 'app.0', 'app.config']);
});

test('an image that is pinned in another repository frees nothing here, and stays', async (t) => {
  const store = await ImageStore.open(t);
  const shared = image(store, 'shared');
  const own = image(store, 'own');
  await store.keep(shared);
  await store.keep(shared, { target: OTHER });
  await store.keep(own);
  await store.pin(`hub.example/other@${shared.manifest.digest}`);
  const why = 'frees nothing: also in hub.example/other, pinned (hand)';
  t.deepEqual(await collect(t, store, Infinity), {
    went: ['own'],
    kept: [`shared: ${why}`, 'shared: pinned (hand)'],
  });
  await store.pins.remove({
    origin: 'hand',
    image: `hub.example/other@${shared.manifest.digest}`,
  });
  t.deepEqual(await collect(t, store, Infinity), { went: ['shared', 'shared'], kept: [] });
  t.deepEqual(await store.held(), []);
});

test('an index that is pinned in another repository frees the platform that only this one has', async (t) => {
  const store = await ImageStore.open(t);
  const [amd64, arm64] = [image(store, 'amd64'), image(store, 'arm64')];
  const index = buildIndex([
    { image: amd64, platform: { os: 'linux', architecture: 'amd64' } },
    { image: arm64, platform: { os: 'linux', architecture: 'arm64' } },
  ]);
  store.nameBlob(index.manifest, 'index');
  for (const [target, platform] of [
    [OTHER, amd64],
    [APP, arm64],
  ] as const) {
    await store.keepManifest(index.manifest, { target });
    await store.keep(platform, { target });
  }
  await store.pin(`hub.example/other@${index.manifest.digest}`);
  const { went } = await collect(t, store, Infinity);
  t.deepEqual(went, ['index']);
  // The other one's index lists the manifest of the platform as well.
  t.deepEqual(await store.held(), ['amd64', 'amd64.0', 'amd64.config', 'arm64', 'index']);
});

test('a tag that moves leaves an image by digest, which goes by its own last pull', async (t) => {
  const store = await ImageStore.open(t);
  const [old, fresh] = [image(store, 'old'), image(store, 'fresh')];
  await store.keep(old, { tags: ['latest'] });
  await store.keep(fresh, { tags: ['latest'] });
  t.deepEqual((await collect(t, store, 1)).went, ['old']);
  t.is(
    (await store.catalog.findTag(APP, parseTag('latest')))?.digest,
    parseDigest(fresh.manifest.digest),
  );
});

test('an index goes with its platforms; one that has a tag of its own goes as the next image', async (t) => {
  const store = await ImageStore.open(t);
  const [amd, arm, newer] = ['amd', 'arm', 'newer'].map((name) => image(store, name));
  const index = buildIndex([
    { image: amd!, platform: AMD },
    { image: arm!, platform: ARM },
  ]);
  store.nameBlob(index.manifest, 'index');
  await store.keep(amd!, { tags: ['v1-amd'] });
  await store.keep(arm!);
  await store.keepManifest(index.manifest, { tags: ['v1'] });
  store.pull(index.manifest);
  await store.keep(newer!);
  t.deepEqual((await collect(t, store, 1)).went, ['index']);
  t.deepEqual(await store.manifests(), ['hub.example/app amd', 'hub.example/app newer']);
  t.deepEqual((await collect(t, store, 1)).went, ['amd']);
  t.deepEqual(await store.held(), ['newer', 'newer.0', 'newer.config']);
});

test('what an index leaves behind goes in the same collection, before what is younger', async (t) => {
  const store = await ImageStore.open(t);
  const [amd, newer] = [image(store, 'amd'), image(store, 'newer')];
  const index = buildIndex([{ image: amd, platform: AMD }]);
  store.nameBlob(index.manifest, 'index');
  await store.keep(amd, { tags: ['v1-amd'] });
  await store.keepManifest(index.manifest, { tags: ['v1'] });
  await store.keep(newer);
  t.deepEqual((await collect(t, store, index.manifest.size + 1)).went, ['index', 'amd']);
});

for (const seed of [1, 2, 3, 4]) {
  test(`signatures go with what they are about and not before, whatever sorts first (${seed})`, async (t) => {
    const store = await ImageStore.open(t);
    const app = image(store, `app${seed}`);
    const referrer = buildArtifact({
      seed: `referrer${seed}`,
      artifactType: 'a/b',
      subject: app.manifest,
    });
    const cosigned = buildArtifact({ seed: `cosigned${seed}`, artifactType: 'a/b' });
    const tag = `${fallbackTag(app.manifest.digest)}.sig`;
    await store.keep(app, { tags: ['v1'] });
    await store.keep(referrer);
    await store.keep(cosigned, { tags: [tag] });
    // All of it has the same time now.
    store.pull(cosigned.manifest);
    store.access.note(APP, parseDigest(referrer.manifest.digest));
    const { images } = await store.budget.plan(1);
    t.deepEqual(
      images.map(({ digest, tags }) => [digest as string, tags]),
      [[app.manifest.digest, ['v1', tag]]],
    );
    t.deepEqual((await collect(t, store, 1)).went, [`app${seed}`]);
    t.deepEqual(await store.held(), []);
  });
}

test('a signature of a platform, fetched later than that was pulled, stays with its index', async (t) => {
  const store = await ImageStore.open(t);
  const platform = image(store, 'platform');
  const index = buildIndex([{ image: platform, platform: AMD }]);
  const signature = buildArtifact({ seed: 'signature', artifactType: 'a/b' });
  const other = image(store, 'other');
  store.name(signature, 'signature');
  store.nameBlob(index.manifest, 'index');
  await store.keepManifest(index.manifest, { tags: ['v1'] });
  await store.keep(platform);
  await store.keep(signature, { tags: [`${fallbackTag(platform.manifest.digest)}.sig`] });
  await store.keep(other);
  store.pull(index.manifest);
  await store.pin('hub.example/app:v1');
  t.deepEqual(await collect(t, store, Infinity), {
    went: ['other'],
    kept: [
      `signature: belongs to ${index.manifest.digest}, which is pinned (hand)`,
      'index: pinned (hand)',
    ],
  });
  await store.pins.remove({ origin: 'hand', image: 'hub.example/app:v1' });
  t.deepEqual(await collect(t, store, Infinity), { went: ['index'], kept: [] });
  t.deepEqual(await store.held(), []);
});

test('a signature of two images goes with the second one', async (t) => {
  const store = await ImageStore.open(t);
  const [a, b] = [image(store, 'a'), image(store, 'b')];
  const signature = buildArtifact({ seed: 'signature', artifactType: 'a/b' });
  store.name(signature, 'signature');
  const tags = [a, b].map(({ manifest }) => `${fallbackTag(manifest.digest)}.sig`);
  await store.keep(a);
  await store.keep(b);
  await store.keep(signature, { tags });
  t.deepEqual((await collect(t, store, 1)).went, ['a']);
  t.deepEqual((await collect(t, store, 1)).went, ['b']);
  await collect(t, store, Infinity);
  t.deepEqual(await store.held(), []);
});

test('two that are each about the other do not keep each other', async (t) => {
  const store = await ImageStore.open(t);
  const [a, b] = [image(store, 'a'), image(store, 'b')];
  await store.keep(a, { tags: [fallbackTag(b.manifest.digest)] });
  await store.keep(b, { tags: [fallbackTag(a.manifest.digest)] });
  store.pull(a.manifest);
  await collect(t, store, Infinity);
  t.deepEqual(await store.held(), []);
});

test('blobs that no manifest lists are units of their own', async (t) => {
  const store = await ImageStore.open(t);
  const [old, pulled] = [buildBlob('old', 10), buildBlob('pulled', 10)];
  store.nameBlob(old, 'old');
  store.nameBlob(pulled, 'pulled');
  const app = image(store, 'app');
  for (const blob of [pulled, old]) await store.keepBlob(blob);
  await store.keepBlob(app.layer(0));
  await store.keep(app);
  store.pull(pulled);
  t.deepEqual(await collect(t, store, Infinity), { went: ['old', 'app', 'pulled'], kept: [] });
  t.deepEqual(await store.held(), []);
});

for (const [what, pinOf] of [
  ['a tag', () => 'hub.example/app:v1'],
  ['a name', () => 'hub.example/app'],
  ['a digest', (index: Stored) => `hub.example/app@${index.digest}`],
  [
    'the digest of a platform',
    (_: Stored, platform: Stored) => `hub.example/app@${platform.digest}`,
  ],
  [
    'the digest of a signature',
    (_: Stored, __: Stored, s: Stored) => `hub.example/app@${s.digest}`,
  ],
  ['a glob of names', () => 'hub.example/*'],
  ['a glob of tags', () => 'hub.example/app:v*'],
  ['a glob of signatures', () => 'hub.example/app:sha256-*'],
  [
    'a glob of digests of platforms',
    (_: Stored, p: Stored) => `hub.example/app@${p.digest.slice(0, 30)}*`,
  ],
] as const) {
  test(`what is pinned by ${what} stays with all that belongs to it`, async (t) => {
    const store = await ImageStore.open(t);
    const [platform, other] = [image(store, 'platform'), image(store, 'other')];
    const index = buildIndex([{ image: platform, platform: AMD }]);
    store.nameBlob(index.manifest, 'index');
    const signature = buildArtifact({ seed: 'signature', artifactType: 'a/b' });
    store.name(signature, 'signature');
    await store.keepManifest(index.manifest, { tags: ['v1'] });
    await store.keep(platform);
    await store.keep(signature, { tags: [`${fallbackTag(index.manifest.digest)}.sig`] });
    await store.keep(other, { target: ELSEWHERE, tags: ['v1'] });
    const before = (await store.held()).filter((name) => !name.startsWith('other'));
    await store.pin(pinOf(index.manifest, platform.manifest, signature.manifest), 'needed');
    const { went, kept } = await collect(t, store, Infinity);
    t.deepEqual(went, ['other']);
    t.true(kept.includes('index: pinned (hand: needed)'), kept.join(', '));
    t.deepEqual(await store.held(), before);
  });
}

test('an image that is being read or written stays, and is told', async (t) => {
  const store = await ImageStore.open(t);
  const [read, written, other] = ['read', 'written', 'other'].map((name) => image(store, name));
  await store.keep(read!);
  await store.keep(written!, { blobs: [written!.config] });
  await store.keep(other!);
  const blob = await store.blobs.find(parseDigest(read!.layer(0).digest));
  const reader = await blob!.open();
  const ingest = await store.blobs.ingest(parseDigest(written!.layer(0).digest), 'hub.example');
  t.deepEqual(await collect(t, store, Infinity), {
    went: ['other'],
    kept: ['read: being pulled', 'written: being pulled'],
  });
  await reader.close();
  await ingest.abort({ keep: false });
  t.deepEqual((await collect(t, store, Infinity)).went, ['read', 'written']);
  t.deepEqual(await store.held(), []);
});

test('an image that is pulled or pinned while others go is passed over', async (t) => {
  const store = await ImageStore.open(t);
  const names = ['first', 'pulled', 'pinned', 'last'];
  const [first, pulled, pinned, last] = names.map((name) => image(store, name));
  for (const each of [first!, pulled!, pinned!, last!]) await store.keep(each);
  const gate = new Gate();
  const release = store.catalog.evict.bind(store.catalog);
  store.catalog.evict = async (unit) => {
    await gate.pass();
    return release(unit);
  };
  const collecting = store.budget.evict(Infinity);
  await gate.arrived();
  store.pull(pulled!.manifest);
  await store.pin(`hub.example/app@${pinned!.manifest.digest}`);
  gate.open();
  t.deepEqual(told(store, await collecting), {
    went: ['first', 'last'],
    kept: ['pulled: being pulled', 'pinned: pinned (hand)'],
  });
});

test('a file that is opened between its planning and its removal stays as a blob of no image', async (t) => {
  const store = await ImageStore.open(t);
  const app = image(store, 'app');
  await store.keep(app, { tags: ['v1'] });
  const release = store.catalog.evict.bind(store.catalog);
  const found = await store.blobs.find(parseDigest(app.layer(0).digest));
  let reader: Awaited<ReturnType<NonNullable<typeof found>['open']>> | undefined;
  store.catalog.evict = async (unit) => {
    reader = await found!.open();
    return release(unit);
  };
  await store.budget.evict(Infinity);
  t.deepEqual(await store.manifests(), []);
  t.deepEqual(await store.held(), ['app.0']);
  await reader!.close();
  store.catalog.evict = release;
  t.deepEqual(await collect(t, store, Infinity), { went: ['app.0'], kept: [] });
  t.deepEqual(await store.held(), []);
});

test('a file that is being removed is found by nobody who would record it', async (t) => {
  const store = await ImageStore.open(t);
  const { blobs, catalog } = store;
  await store.keep(image(store, 'app'), { tags: ['v1'] });
  const findBlob = catalog.findBlob.bind(catalog);
  const seen = new Set<string>();
  catalog.findBlob = async (digest) => {
    const known = await findBlob(digest);
    // Between the answer and what is made of it.
    const isFirst = known === undefined && !seen.has(digest);
    const file = isFirst ? await blobs.statBlob(digest) : undefined;
    seen.add(digest);
    if (file) await catalog.adoptBlob(digest, { size: file.size, storedAt: 1 });
    return known;
  };
  await store.budget.evict(Infinity);
  t.deepEqual(await store.held(), []);
  t.is(catalog.usage.blobs, 0);
});

test('a shared blob counts for the image that was pulled last, noted or written already', async (t) => {
  const store = await ImageStore.open(t);
  const base = buildBlob('base', 1000);
  const [first, second] = ['first', 'second'].map((name) => imageOf(store, name, [base]));
  for (const each of [first!, second!]) await store.keep(each);
  store.pull(first!.manifest);
  store.clock.advance(10);
  store.pull(second!.manifest);
  store.clock.advance(10);
  await store.keepManifest(first!.manifest);
  const secondPull = store.clock.now() - 11;
  store.clock.advance(10);
  store.pull(base);
  await store.access.flush();
  t.is(await store.lastPull(first!.manifest), store.clock.now());
  t.is(await store.lastPull(second!.manifest), secondPull);
});

test('hits write nothing; a flush writes all images that were pulled at once', async (t) => {
  const store = await ImageStore.open(t);
  const images = ['a', 'b', 'c'].map((name) => image(store, name));
  for (const each of images) await store.keep(each);
  const { tables } = store.catalog;
  const write = tables.write.bind(tables);
  let writes = 0;
  tables.write = async (...args) => {
    writes += 1;
    return write(...args);
  };
  for (let hit = 0; hit < 1000; hit += 1) store.pull(images[hit % 3]!.manifest);
  t.is(writes, 0);
  await store.access.flush();
  t.is(writes, 1);
  t.deepEqual(
    await Promise.all(images.map(async ({ manifest }) => store.lastPull(manifest))),
    [0, 2, 1].map((ago) => store.clock.now() - ago),
  );
  await store.access.flush();
  t.is(writes, 1);
});

// Room

async function fill(store: ImageStore, count: number, size = 10_000): Promise<Image[]> {
  const images = Array.from({ length: count }, (_, n) => image(store, `i${n}`, [size]));
  for (const each of images) await store.keep(each);
  return images;
}

/** Resolves when nothing is being collected. */
async function settled({ budget }: ImageStore): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await budget.evict(0);
}

test('above the high watermark it collects beside the work, down to the low one', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 115_000 });
  await fill(store, 10);
  const before = store.catalog.usage.bytes;
  t.true(before > 0 && before < 115_000 * 0.98);
  store.budget.wake();
  await settled(store);
  t.deepEqual(store.evicted, []);
  await store.keepBlob(buildBlob('more', 5000));
  store.budget.wake();
  await settled(store);
  t.deepEqual(store.evicted, [['i0', 'budget']]);
  t.true(store.catalog.usage.bytes <= 115_000 * 0.95);
});

test('what was recorded is not counted twice while it is still promised', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 100_000 });
  await fill(store, 4);
  const room = await store.admit(40_000);
  await store.keepBlob(buildBlob('arrived', 40_000));
  store.budget.wake();
  // As a download does: a few steps later.
  for (let step = 0; step < 4; step += 1) await Promise.resolve();
  room![Symbol.dispose]();
  room![Symbol.dispose]();
  t.is(store.budget.reservedBytes, 0);
  await settled(store);
  t.deepEqual(store.evicted, []);
});

test('a download gets the room that older images leave, and no more of them go for it', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 100_000 });
  await fill(store, 8);
  const room = await store.admit(20_000);
  t.is(store.budget.reservedBytes, 20_000);
  t.deepEqual(store.evicted[0], ['i0', 'budget']);
  t.true(store.catalog.usage.bytes + 20_000 <= 100_000);
  room![Symbol.dispose]();
  await settled(store);
});

test('many who ask for room at once are never promised more than there is', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 100_000 });
  store.blobs.folders.freeBytes = async () => 2 ** 40;
  const rooms = await Promise.all(Array.from({ length: 10 }, async () => store.admit(30_000)));
  t.is(rooms.filter((room) => room !== undefined).length, 3);
  t.is(store.budget.reservedBytes, 90_000);
  for (const room of rooms) room?.[Symbol.dispose]();
  t.is(store.budget.reservedBytes, 0);
});

test('nothing goes for what has no room even then', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 100_000 });
  await fill(store, 8);
  const before = await store.held();
  t.is(await store.admit(100_001), undefined);
  await store.pin('hub.example/app');
  t.is(await store.admit(50_000), undefined);
  await store.pins.remove({ origin: 'hand', image: 'hub.example/app' });
  const digests = await Array.fromAsync(store.catalog.manifests(), ({ digest }) => digest);
  for (const digest of digests.slice(0, 6)) await store.pin(`hub.example/app@${digest}`);
  t.is(await store.admit(50_000), undefined);
  t.deepEqual(await store.held(), before);
});

test('the disk keeps its floor', async (t) => {
  const store = await ImageStore.open(t, { minFreeBytes: 50_000 });
  await fill(store, 3);
  const start = store.catalog.usage.bytes;
  let disk = start + 60_000;
  store.blobs.folders.freeBytes = async () => disk - store.catalog.usage.bytes;
  using roomy = await store.admit(10_000);
  t.not(roomy, undefined);
  t.deepEqual(store.evicted, []);
  using tight = await store.admit(5_000);
  t.not(tight, undefined);
  t.deepEqual(store.evicted, [['i0', 'free-space']]);
  disk = start;
  t.is(await store.admit(1), undefined);
  t.deepEqual(await store.held(), []);
});

test('a disk that does not say what is free has no floor', async (t) => {
  const store = await ImageStore.open(t, { minFreeBytes: 2 ** 50 });
  t.is(await store.admit(1), undefined);
  store.blobs.folders.freeBytes = async () => undefined;
  using room = await store.admit(1);
  t.not(room, undefined);
});

test('a catalog that cannot be written gives no room and says why, until it can', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 50_000 });
  await fill(store, 4);
  const release = store.catalog.evict.bind(store.catalog);
  store.catalog.evict = async () => {
    throw new Error('the disk is full');
  };
  await t.throwsAsync(store.admit(30_000), { message: 'the disk is full' });
  t.is(store.budget.reservedBytes, 0);
  store.catalog.evict = release;
  using room = await store.admit(30_000);
  t.not(room, undefined);
  await settled(store);
});

test('what is collected ahead of need makes way for a download that wants room', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 100_000 });
  await fill(store, 9);
  await store.keepBlob(buildBlob('more', 5000));
  const gate = new Gate();
  const release = store.catalog.evict.bind(store.catalog);
  store.catalog.evict = async (unit) => {
    await gate.pass();
    return release(unit);
  };
  store.budget.wake();
  await gate.arrived();
  store.blobs.folders.freeBytes = async () => 2 ** 40;
  const asked = store.admit(15_000);
  await nextTurn();
  gate.open();
  using room = await asked;
  t.not(room, undefined);
  const [ahead] = store.collections;
  t.is(ahead!.images.length, 1);
  await settled(store);
});
