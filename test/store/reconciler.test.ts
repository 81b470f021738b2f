import { chmod, mkdir, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import type { BlobStore } from '../../src/store/files/blob-store.ts';
import type { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { Reconciler, type Reconciliation } from '../../src/store/care/reconciler.ts';
import { Gate } from '../helpers/gate.ts';
import { blobPath } from '../helpers/mirror.ts';
import { APP, createStore, describe, fillCatalog, fillFiles, openCatalog } from './held-store.ts';

const DAY = 24 * 60 * 60 * 1000;
const NOW = Date.UTC(2030, 0, 20);

interface World {
  readonly path: string;
  readonly store: BlobStore;
  readonly catalog: LevelCatalog;
  readonly reconciler: Reconciler;
  /** Where files without a record are looked at again; open unless a test closes it. */
  settle: () => Promise<unknown>;
}

async function createWorld(t: ExecutionContext): Promise<World> {
  const { path, store } = await createStore(t);
  const catalog = await openCatalog(t, path);
  const reconciler: Reconciler = new Reconciler({
    blobs: store,
    catalog,
    now: () => NOW,
    settle: async () => world.settle(),
  });
  const world: World = {
    path,
    store,
    catalog,
    reconciler,
    settle: async () => undefined,
  };
  return world;
}

function reconciliation(done: Partial<Reconciliation> = {}): Reconciliation {
  return {
    isComplete: true,
    adopted: 0,
    forgotten: 0,
    foreign: 0,
    foreignBytes: 0,
    busy: 0,
    partialsKept: 0,
    partialsRemoved: 0,
    quarantineKept: 0,
    quarantineRemoved: 0,
    ...done,
  };
}

async function put({ path, store }: World, text: string, at = 7000): Promise<Digest> {
  const bytes = Buffer.from(text);
  const digest = digestOf(bytes);
  await store.writeBytes(digest, bytes);
  await utimes(blobPath(path, digest), at / 1000, at / 1000);
  return digest;
}

test('a store that agrees is left as it is', async (t) => {
  const world = await createWorld(t);
  await fillFiles(world.path, world.store);
  await fillCatalog(world.catalog);
  const before = await describe(world.catalog);
  t.deepEqual(await world.reconciler.run(), reconciliation());
  t.deepEqual(await describe(world.catalog), before);
});

test('files without a record are adopted, records without a file forgotten, wherever they sort', async (t) => {
  const world = await createWorld(t);
  const { catalog, path } = world;
  const digests = await Promise.all(
    Array.from({ length: 60 }, async (_, number) => put(world, `blob ${number}`)),
  );
  const [recorded, unrecorded] = [digests.slice(0, 40), digests.slice(40)];
  for (const digest of recorded) await catalog.recordBlob(APP, digest, { size: 6, storedAt: 1 });
  const lost = recorded.slice(0, 15);
  for (const digest of lost) await rm(blobPath(path, digest));
  const long = digestOf(Buffer.from('long'), 'sha512');
  await mkdir(dirname(blobPath(path, long)), { recursive: true });
  await writeFile(blobPath(path, long), 'long');
  await catalog.recordBlob(APP, digestOf(Buffer.from('gone'), 'sha512'), { size: 4, storedAt: 1 });

  t.deepEqual(await world.reconciler.run(), reconciliation({ adopted: 21, forgotten: 16 }));

  const held = (await Array.fromAsync(catalog.listBlobs())).map(([digest]) => digest);
  t.deepEqual(held, [...recorded.slice(15), ...unrecorded, long].toSorted());
  t.deepEqual(await catalog.findBlob(unrecorded[0]!), { size: 7, storedAt: 7000 });
  t.is(await catalog.lastPull(unrecorded[0]!), 7000);
  // The repository still has what was lost.
  t.is(await catalog.findLink(APP, lost[0]!), 'proven');
  t.deepEqual(catalog.usage, { blobs: 46, bytes: 25 * 6 + 20 * 7 + 4 });
  t.deepEqual(await world.reconciler.run(), reconciliation());
});

test('a commit between its file and its record is not adopted', async (t) => {
  const world = await createWorld(t);
  const gate = new Gate();
  world.settle = async () => gate.pass();
  const digest = await put(world, 'new');
  const run = world.reconciler.run();
  await gate.arrived();
  await world.catalog.recordBlob(APP, digest, { size: 3, storedAt: 9000, changedAt: 5 });
  gate.open();
  t.deepEqual(await run, reconciliation());
  t.deepEqual(await world.catalog.findBlob(digest), { size: 3, storedAt: 9000, changedAt: 5 });
});

test('a removal between its record and its file is not adopted', async (t) => {
  const world = await createWorld(t);
  const gate = new Gate();
  world.settle = async () => gate.pass();
  const digest = await put(world, 'old');
  const run = world.reconciler.run();
  await gate.arrived();
  await world.store.delete(digest);
  gate.open();
  t.deepEqual(await run, reconciliation());
  t.is(await world.catalog.findBlob(digest), undefined);
});

test('what is adopted is not removed before its record stands', async (t) => {
  const world = await createWorld(t);
  const { store, catalog } = world;
  const digest = await put(world, 'old');
  const statBlob = store.statBlob.bind(store);
  store.statBlob = async (each) => {
    const found = await statBlob(each);
    // An eviction comes to it just now.
    if (!store.isBusy(each)) await store.delete(each);
    return found;
  };
  t.deepEqual(await world.reconciler.run(), reconciliation({ adopted: 1 }));
  t.truthy(await catalog.findBlob(digest));
  t.truthy(await statBlob(digest));
});

test('what somebody has in hand is neither adopted nor forgotten', async (t) => {
  const world = await createWorld(t);
  const written = await put(world, 'being written');
  const lost = digestOf(Buffer.from('being fetched again'));
  await world.catalog.recordBlob(APP, lost, { size: 1, storedAt: 1 });
  const leases = [written, lost].map((digest) => world.store.lease(digest));
  t.deepEqual(await world.reconciler.run(), reconciliation({ busy: 1 }));
  t.is(await world.catalog.findBlob(written), undefined);
  t.deepEqual(await world.catalog.findBlob(lost), { size: 1, storedAt: 1 });
  for (const lease of leases) lease[Symbol.dispose]();
  t.deepEqual(await world.reconciler.run(), reconciliation({ adopted: 1, forgotten: 1 }));
});

test('foreign names are left alone and counted', async (t) => {
  const world = await createWorld(t);
  const digest = await put(world, 'ours');
  const hex = digest.slice(7);
  const blobs = join(world.path, 'blobs');
  const strange = [
    'lost+found/x',
    'notes.txt',
    'sha256/zz/x',
    'sha256/README',
    `sha256/${hex.slice(0, 2)}/.nfs0001`,
    `sha256/${hex.slice(0, 2)}/${hex}.bak`,
    // In a folder where it is never looked for.
    `sha256/${hex.startsWith('00') ? '01' : '00'}/${hex}`,
  ];
  for (const name of strange) {
    await mkdir(dirname(join(blobs, name)), { recursive: true });
    await writeFile(join(blobs, name), 'x');
  }
  t.deepEqual(
    await world.reconciler.run(),
    reconciliation({ adopted: 1, foreign: 7, foreignBytes: 7 }),
  );
  for (const name of strange) t.is(await readFile(join(blobs, name), 'utf8'), 'x', name);
});

test('old partial files go, younger ones and those in hand stay', async (t) => {
  const world = await createWorld(t);
  const ingest = join(world.path, 'ingest');
  const names = ['old', 'young', 'in hand'].map((text) => digestOf(Buffer.from(text)));
  for (const [position, digest] of names.entries()) {
    const path = join(ingest, digest.replace(':', '-'));
    await writeFile(path, 'part');
    const time = (NOW - (position === 1 ? 6.9 : 7.1) * DAY) / 1000;
    await utimes(path, time, time);
  }
  await world.store.aside.claim(names[2]!.replace(':', '-'));
  t.deepEqual(
    await world.reconciler.run(),
    reconciliation({ partialsKept: 2, partialsRemoved: 1 }),
  );
  t.deepEqual(
    (await readdir(ingest)).toSorted(),
    names
      .slice(1)
      .map((digest) => digest.replace(':', '-'))
      .toSorted(),
  );
});

test('what was found damaged is kept for a week from then on, however old its bytes are', async (t) => {
  const world = await createWorld(t);
  const digest = await put(world, 'damaged', 1000);
  await chmod(blobPath(world.path, digest), 0o600);
  await world.store.quarantine(digest);
  const run = async (now: number): Promise<Reconciliation> =>
    new Reconciler({
      blobs: world.store,
      catalog: world.catalog,
      now: () => now,
    }).run();
  t.deepEqual(await run(Date.now() + 6.9 * DAY), reconciliation({ quarantineKept: 1 }));
  t.deepEqual(await run(Date.now() + 7.1 * DAY), reconciliation({ quarantineRemoved: 1 }));
  t.deepEqual(await readdir(join(world.path, 'quarantine')), []);
});

test('it stops when it is told to, and says that it is not through', async (t) => {
  const world = await createWorld(t);
  const stop = new AbortController();
  world.settle = async () => stop.abort();
  await Promise.all(Array.from({ length: 9 }, async (_, number) => put(world, `${number}`)));
  const { signal } = stop;
  t.deepEqual(await world.reconciler.run({ signal }), reconciliation({ isComplete: false }));
  t.deepEqual(await Array.fromAsync(world.catalog.listBlobs()), []);
});
