import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { digestOf, parseDigest, type Digest } from '../../src/oci/digest.ts';
import { Gate } from '../helpers/gate.ts';
import { buildBlob, buildImage, type Image } from '../helpers/image.ts';
import { until } from '../helpers/until.ts';
import { ImageStore } from './image-store.ts';

const SIZE = 10_000;

/** Images `i0`, `i1`, … of one layer each, the first one the oldest. */
async function fill(store: ImageStore, count: number): Promise<Image[]> {
  const images = Array.from({ length: count }, (_, n) =>
    buildImage({ seed: `i${n}`, layers: [SIZE] }),
  );
  for (const [n, image] of images.entries()) {
    store.name(image, `i${n}`);
    await store.keep(image, { tags: [`v${n}`] });
  }
  return images;
}

/** A disk on which this much is free beside what is held now. */
function setFree(store: ImageStore, bytes: number): void {
  const total = store.catalog.usage.bytes + bytes;
  store.blobs.folders.freeBytes = async () => total - store.catalog.usage.bytes;
}

/** How often images are walked over from now on. */
function countWalks({ catalog }: ImageStore): () => number {
  const oldest = catalog.oldest.bind(catalog);
  let walks = 0;
  catalog.oldest = () => {
    walks += 1;
    return oldest();
  };
  return () => walks;
}

/** From now on images wait at the gate before they are evicted. */
function gateEvictions({ catalog }: ImageStore): Gate {
  const gate = new Gate();
  const evict = catalog.evict.bind(catalog);
  catalog.evict = async (unit) => {
    await gate.pass();
    return evict(unit);
  };
  return gate;
}

function bytesOf({ blobs, manifest }: Image): number {
  return blobs.reduce((sum, { size }) => sum + size, manifest.size);
}

test('what is too large for the disk even with everything gone takes nothing with it', async (t) => {
  const store = await ImageStore.open(t, { minFreeBytes: 1000 });
  await fill(store, 5);
  const before = await store.held();
  setFree(store, 200_000);
  t.is(await store.admit(10_000_000), undefined);
  t.deepEqual(await store.held(), before);
  t.deepEqual(store.evicted, []);
});

test('for what is too large no more goes than the floor of the disk lacks', async (t) => {
  const store = await ImageStore.open(t, { minFreeBytes: 50_000 });
  await fill(store, 5);
  setFree(store, 45_000);
  t.is(await store.admit(10_000_000), undefined);
  t.deepEqual(store.evicted, [['i0', 'free-space']]);
  t.is(await store.admit(10_000_000), undefined);
  t.deepEqual(store.evicted, [['i0', 'free-space']]);
});

test('a store full of pinned images is walked over once, however many want room', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 50_000 });
  await fill(store, 4);
  await store.pin('hub.example/app');
  const walks = countWalks(store);
  const asked = Array.from({ length: 8 }, async () => store.admit(SIZE));
  t.deepEqual(await Promise.all(asked), Array(8).fill(undefined));
  t.is(walks(), 1);
  t.is(await store.admit(20_000), undefined);
  t.is(walks(), 1);
});

test('above the high watermark with everything pinned, nothing is looked for after each record', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 41_000 });
  await fill(store, 4);
  await store.pin('hub.example/app');
  const walks = countWalks(store);
  for (let turn = 0; turn < 3; turn += 1) {
    store.budget.wake();
    await store.budget.evict(0);
    await store.budget.evict(0);
  }
  // Of these, six are those of the requests to collect nothing.
  t.is(walks(), 1 + 6);
  t.deepEqual(store.evicted, []);
});

test('what can be freed is too little for one and enough for another', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 50_000 });
  const images = await fill(store, 4);
  for (const { manifest } of images.slice(1)) await store.pin(`hub.example/app@${manifest.digest}`);
  t.is(await store.admit(30_000), undefined);
  t.deepEqual(store.evicted, []);
  using room = await store.admit(SIZE);
  t.not(room, undefined);
  t.deepEqual(store.evicted, [['i0', 'budget']]);
});

test('a pin that goes makes room at once', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 50_000 });
  await fill(store, 4);
  await store.pin('hub.example/app');
  t.is(await store.admit(SIZE), undefined);
  await store.pins.remove({ origin: 'hand', image: 'hub.example/app' });
  using room = await store.admit(SIZE);
  t.not(room, undefined);
  t.deepEqual(store.evicted, [['i0', 'budget']]);
});

test('who loses patience is let go, and the room that is made later is for the next', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 50_000 });
  await fill(store, 4);
  const gate = gateEvictions(store);
  t.is(await store.admit(SIZE, { patienceMs: 1 }), undefined);
  await gate.arrived();
  t.deepEqual(store.evicted, []);
  gate.open();
  await store.budget.evict(0);
  await nextTurn();
  t.deepEqual(store.evicted, [['i0', 'budget']]);
  t.is(store.budget.reservedBytes, 0);
  using room = await store.admit(SIZE);
  t.not(room, undefined);
  t.deepEqual(store.evicted, [['i0', 'budget']]);
});

test('a collection by hand lets a download that wants room through between two images', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 112_000 });
  const images = await fill(store, 10);
  const all = images.reduce((sum, image) => sum + bytesOf(image), 0);
  setFree(store, 2 ** 40);
  const gate = gateEvictions(store);
  const collecting = store.budget.evict(all);
  await gate.arrived();
  const asked = store.admit(SIZE);
  await nextTurn();
  const leftThen = asked.then(async (room) => {
    room![Symbol.dispose]();
    return store.catalog.usage.blobs;
  });
  gate.open();
  t.true((await leftThen) >= 3 * 8, 'when the first one or two of ten images are gone');
  const { images: gone, wantedBytes } = await collecting;
  t.is(wantedBytes, all);
  t.is(
    gone.reduce((sum, { bytes }) => sum + bytes, 0),
    all,
  );
  t.deepEqual(
    store.evicted,
    images.map((_, n) => [`i${n}`, 'request']),
  );
  t.deepEqual(await store.held(), []);
});

test('a file that cannot be removed still counts, the others of its image go, and it is told', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 50_000 });
  const [oldest] = await fill(store, 4);
  const before = store.catalog.usage;
  const remove = store.blobs.delete.bind(store.blobs);
  const asked: Digest[] = [];
  store.blobs.delete = async (digest) => {
    asked.push(digest);
    if (digest !== asked[0]) return remove(digest);
    throw Object.assign(new Error('EIO: i/o error, unlink'), { code: 'EIO', syscall: 'unlink' });
  };
  await t.throwsAsync(store.admit(SIZE), { code: 'EIO' });
  t.deepEqual(asked.map((digest) => store.nameOf(digest)).toSorted(), ['i0', 'i0.0', 'i0.config']);
  const [stuck] = asked as [Digest];
  const parts = [oldest!.manifest, ...oldest!.blobs];
  const gone = bytesOf(oldest!) - parts.find(({ digest }) => digest === stuck)!.size;
  t.deepEqual(store.catalog.usage, { blobs: before.blobs - 2, bytes: before.bytes - gone });
  t.deepEqual(
    (await store.held()).filter((name) => name.startsWith('i0')),
    [store.nameOf(stuck)],
  );
  t.is(store.budget.reservedBytes, 0);
  store.blobs.delete = remove;
  using room = await store.admit(SIZE);
  t.not(room, undefined);
  const left = ['i1', 'i2', 'i3'].map((name) => `hub.example/app ${name}`);
  t.deepEqual(await store.manifests(), left);
  t.true(store.catalog.usage.bytes + SIZE <= 50_000);
});

test('each byte of a blob on its way counts once: promised, then written', async (t) => {
  const GIB = 2 ** 30;
  const store = await ImageStore.open(t, { maxBytes: 1000 * GIB, minFreeBytes: 2 * GIB });
  let free = 30 * GIB;
  store.blobs.folders.freeBytes = async () => free;
  using room = await store.budget.admit(12 * GIB);
  await room.take(12 * GIB);
  t.is(store.budget.reservedBytes, 12 * GIB);
  t.false(await store.budget.hasRoom(16 * GIB + 1));
  room.wrote(11 * GIB);
  free -= 11 * GIB;
  t.is(store.budget.reservedBytes, GIB);
  t.true(await store.budget.hasRoom(16 * GIB));
  t.false(await store.budget.hasRoom(16 * GIB + 1));
});

test('what an earlier transfer left of a blob counts once while the blob goes on', async (t) => {
  const store = await ImageStore.open(t, { maxBytes: 100_000 });
  const blob = buildBlob('large', 90_000);
  const digest = parseDigest(blob.digest);
  const first = await store.blobs.ingest(digest, 'hub.example');
  await first.append(blob.bytes.subarray(0, 60_000));
  await first.abort({ keep: true });
  t.false(await store.budget.hasRoom(40_001));
  t.true(await store.budget.hasRoom(40_000));
  const again = await store.blobs.ingest(digest, 'hub.example');
  using room = await store.budget.admit(blob.size, { written: again.written });
  t.is(store.budget.reservedBytes, 30_000);
  t.true(await store.budget.hasRoom(10_000));
  t.false(await store.budget.hasRoom(10_001));
  await room.take(30_000);
  await again.append(blob.bytes.subarray(60_000));
  room.wrote(30_000);
  t.is(store.budget.reservedBytes, 0);
  t.true(await store.budget.hasRoom(10_000));
  t.false(await store.budget.hasRoom(10_001));
  await again.abort({ keep: false });
});

test('an announced length is believed as far as bytes back it', async (t) => {
  const MIB = 1024 * 1024;
  const store = await ImageStore.open(t, { maxBytes: 128 * MIB });
  const rooms = await Promise.all(
    Array.from({ length: 8 }, async () => store.budget.admit(100 * MIB)),
  );
  const step = 2 * MIB;
  t.is(store.budget.reservedBytes, 8 * step);
  await rooms[0]!.take(10 * MIB);
  rooms[0]!.wrote(10 * MIB);
  t.is(store.budget.reservedBytes, 10 * MIB + step + 7 * step);
  for (const room of rooms) room[Symbol.dispose]();
  t.is(store.budget.reservedBytes, 0);
});

test('a thousand files that broken transfers left are kept, and the oldest goes for one more', async (t) => {
  const store = await ImageStore.open(t);
  for (let n = 0; n <= 1000; n += 1) {
    const ingest = await store.blobs.ingest(digestOf(Buffer.from(`${n}`)), 'hub.example');
    await ingest.append(Buffer.from('x'));
    await ingest.abort({ keep: true });
  }
  await until('one has gone', () => store.blobs.aside.amountOf('ingest').files === 1000);
  const [first, last] = ['0', '1000'].map((text) => digestOf(Buffer.from(text)).slice(7));
  const names = await store.partials();
  t.is(names.length, 1000);
  t.false(names.some((name) => name.includes(first!)));
  t.true(names.some((name) => name.includes(last!)));
});
