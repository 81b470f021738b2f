/** What files with holes count as, and when they go to make room. */
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { Reconciler } from '../../src/store/care/reconciler.ts';
import type { BlobStore, Ingest } from '../../src/store/files/blob-store.ts';
import { MINUTE } from '../helpers/clock.ts';
import { buildBlob, buildImage, type Stored } from '../helpers/image.ts';
import { ImageStore } from './image-store.ts';

const UPSTREAM = 'hub.example';
const DAY = 24 * 60 * MINUTE;

/** Writes these ranges of the blob into a file with holes. */
async function fill(
  blobs: BlobStore,
  blob: Stored,
  ranges: readonly (readonly [start: number, end: number])[],
): Promise<Ingest> {
  const ingest = await blobs.ingest(parseDigest(blob.digest), UPSTREAM);
  await ingest.spread(blob.size);
  for (const [start, end] of ranges) await ingest.write(blob.bytes.subarray(start, end), start);
  return ingest;
}

/** As an earlier transfer left it. */
async function leave(...parts: Parameters<typeof fill>): Promise<void> {
  await (await fill(...parts)).abort({ keep: true });
}

async function keepImages(store: ImageStore, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    const image = buildImage({ seed: `i${n}`, layers: [10_000] });
    store.name(image, `i${n}`);
    await store.keep(image, { tags: [`v${n}`] });
  }
}

async function startFull(t: ExecutionContext): Promise<ImageStore> {
  const store = await ImageStore.open(t, { maxBytes: 45_000 });
  await keepImages(store, 3);
  // Far more than the budget, were its length what it takes.
  await leave(store.blobs, buildBlob('lazy', 400_000), [[390_000, 395_000]]);
  return store;
}

test('a file with holes takes what is there of it, and a promise that shrinks with each byte that comes', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 100_000 });
  const blob = buildBlob('large', 90_000);
  const first = await fill(store.blobs, blob, [[60_000, 70_000]]);
  await first.abort({ keep: true });
  t.true(await store.budget.hasRoom(90_000));
  t.false(await store.budget.hasRoom(90_001));
  const again = await store.blobs.ingest(first.digest, UPSTREAM);
  using room = await store.budget.admit(blob.size, { written: again.held });
  t.is(store.budget.reservedBytes, 80_000);
  for (const [start, end] of [
    [80_000, 90_000],
    [0, 10_000],
    // Half of it is there.
    [65_000, 75_000],
  ] as const) {
    const before = again.held;
    await room.take(end - start);
    await again.write(blob.bytes.subarray(start, end), start);
    room.wrote(again.held - before);
    t.is(store.budget.reservedBytes, blob.size - again.held);
    t.is(store.blobs.aside.claimedBytes, again.held);
    // All of the blob, whatever of it has come.
    t.true(await store.budget.hasRoom(10_000));
    t.false(await store.budget.hasRoom(10_001));
  }
  await again.abort({ keep: true });
  room[Symbol.dispose]();
  t.is(store.budget.reservedBytes, 0);
  t.deepEqual(store.blobs.aside.amountOf('ingest'), { files: 1, bytes: 35_000 });
  t.true(await store.budget.hasRoom(65_000));
  t.false(await store.budget.hasRoom(65_001));
});

test('a file with holes that nobody used for an hour goes before whole images', async (t) => {
  const store = await startFull(t);
  store.clock.advance(61 * MINUTE);
  using room = await store.admit(10_000);
  t.not(room, undefined);
  t.deepEqual(store.evicted, []);
  t.deepEqual(await store.partials(), []);
});

test('one that was used within the hour stays while older images may go, and goes when that is not enough', async (t) => {
  const store = await startFull(t);
  store.clock.advance(59 * MINUTE);
  const planned = await store.budget.plan(1);
  t.is(planned.images.length, 1);
  {
    using room = await store.admit(10_000);
    t.not(room, undefined);
  }
  t.deepEqual(store.evicted, [['i0', 'budget']]);
  t.is((await store.partials()).length, 2);
  using room = await store.admit(45_000);
  t.not(room, undefined);
  t.deepEqual(store.evicted.map(([name]) => name).toSorted(), ['i0', 'i1', 'i2']);
  t.deepEqual(await store.partials(), []);
});

test('after a restart it counts with its map, and its hour goes on', async (t) => {
  const store = await startFull(t);
  const names = await store.partials();
  const path = join(
    store.path,
    'ingest',
    names.find((name) => name.endsWith('+sparse'))!,
  );
  const used = (store.clock.now() - 59 * MINUTE) / 1000;
  await utimes(path, used, used);
  const again = await store.reopen(t);
  await again.blobs.takeOver();
  t.deepEqual(again.blobs.aside.amountOf('ingest'), { files: 1, bytes: 5_000 });
  t.deepEqual(await again.blobs.aside.shed(1, { unusedSince: again.clock.now() - 60 * MINUTE }), {
    files: 0,
    bytes: 0,
  });
  again.clock.advance(2 * MINUTE);
  t.deepEqual(await again.blobs.aside.shed(1, { unusedSince: again.clock.now() - 60 * MINUTE }), {
    files: 1,
    bytes: 5_000,
  });
});

test('with its age limit it goes, map and all; what was read meanwhile is younger', async (t) => {
  const store = await ImageStore.open(t);
  const [old, read] = [buildBlob('old', 20_000), buildBlob('read', 30_000)];
  for (const blob of [old, read]) await leave(store.blobs, blob, [[10_000, 15_000]]);
  const folder = join(store.path, 'ingest');
  for (const name of await readdir(folder)) {
    const time = (Date.now() - 8 * DAY) / 1000;
    await utimes(join(folder, name), time, time);
  }
  // Nothing is written to it.
  await leave(store.blobs, read, []);
  const { partialsKept, partialsRemoved } = await new Reconciler({
    blobs: store.blobs,
    catalog: store.catalog,
    now: Date.now,
    settle: async () => undefined,
  }).run();
  t.deepEqual({ partialsKept, partialsRemoved }, { partialsKept: 1, partialsRemoved: 1 });
  const left = await store.partials();
  t.is(left.length, 2);
  t.true(left.every((name) => name.startsWith(read.digest.replace(':', '-'))));
  t.is(store.blobs.aside.amountOf('ingest').bytes, 5_000);
});
