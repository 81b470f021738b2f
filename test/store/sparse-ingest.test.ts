/** A blob that comes at any position: what is there is known by its map alone, whatever ends the process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { IntegrityError, parseDigest, type Digest } from '../../src/oci/digest.ts';
import type { CrashPoint } from '../../src/store/faults.ts';
import { BlobStore, type Ingest } from '../../src/store/files/blob-store.ts';
import { FillMap } from '../../src/store/files/fill-map.ts';
import { Intervals } from '../../src/store/files/intervals.ts';
import { digestOf, randomBytes } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { SPARSE } from './sparse-blob.ts';

const WRITER = fileURLToPath(new URL('sparse-writer.ts', import.meta.url));
const UPSTREAM = 'hub.example';
const SIZE = 100_000;

type Durability = 'full' | 'rename';

async function openStore(
  path: string,
  { durability = 'rename', step }: { durability?: Durability; step?: CrashPoint } = {},
): Promise<BlobStore> {
  const store = await BlobStore.open({ path, durability, ...(step && { step }) });
  await store.takeOver();
  return store;
}

interface World {
  readonly path: string;
  readonly store: BlobStore;
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly open: () => Promise<Ingest>;
  /** What lies in the folder of partial files. */
  readonly names: () => Promise<string[]>;
}

async function setUp(
  t: ExecutionContext,
  options?: Parameters<typeof openStore>[1],
): Promise<World> {
  const path = await createTempFolder(t);
  const store = await openStore(path, options);
  const bytes = randomBytes(t.title, SIZE);
  const digest = parseDigest(digestOf(bytes));
  return {
    path,
    store,
    bytes,
    digest,
    open: async () => store.ingest(digest, UPSTREAM),
    names: async () => (await readdir(join(path, 'ingest'))).toSorted(),
  };
}

function nameOf(digest: string): string {
  return `${digest.replace(':', '-')}@${UPSTREAM}`;
}

/** Writes this range of the blob, in a file with holes. */
async function put(ingest: Ingest, bytes: Buffer, start: number, end: number): Promise<void> {
  await ingest.spread(bytes.length);
  await ingest.write(bytes.subarray(start, end), start);
}

const position = fc.nat(SIZE);
const STEP = fc.oneof(
  fc.record({ kind: fc.constant('write' as const), position, size: fc.nat(20_000) }),
  fc.record({ kind: fc.constant('append' as const), size: fc.nat(5_000) }),
  fc.record({ kind: fc.constant('read' as const), position, size: fc.nat(20_000) }),
  fc.record({ kind: fc.constant('resume' as const) }),
  fc.record({ kind: fc.constant('restart' as const) }),
  fc.record({ kind: fc.constant('reset' as const) }),
);

for (const [durability, numRuns] of [
  ['rename', 80],
  ['full', 8],
] as const) {
  test(`${durability}: any interleaving of writes and reads at any place, ends and restarts equals the source`, async (t) => {
    const { path, bytes, digest } = await setUp(t);
    await fc.assert(
      fc.asyncProperty(fc.array(STEP, { maxLength: 25 }), async (steps) => {
        let store = await openStore(path, { durability });
        let ingest = await store.ingest(digest, UPSTREAM);
        let model = new Intervals();
        for (const step of steps) {
          if (step.kind === 'write') {
            const end = Math.min(SIZE, step.position + step.size);
            await put(ingest, bytes, step.position, end);
            model.add({ start: step.position, end });
          } else if (step.kind === 'append') {
            const [hole] = ingest.holes({ start: ingest.written, end: SIZE });
            const end = Math.min(hole?.end ?? 0, ingest.written + step.size);
            model.add({ start: ingest.written, end });
            await ingest.append(bytes.subarray(ingest.written, end));
          } else if (step.kind === 'read') {
            await read(ingest, bytes, step);
          } else if (step.kind === 'reset') {
            await ingest.reset();
            model = new Intervals();
          } else {
            await ingest.abort({ keep: true });
            if (step.kind === 'restart') store = await openStore(path, { durability });
            const { bytes: held } = store.aside.amountOf('ingest');
            if (held !== model.bytes) throw new Error(`${held} bytes counted`);
            ingest = await store.ingest(digest, UPSTREAM);
          }
          const holes = JSON.stringify(ingest.holes({ start: 0, end: SIZE }));
          const expected = JSON.stringify([...model.holes({ start: 0, end: SIZE })]);
          if (holes !== expected) throw new Error(`${holes} instead of ${expected}`);
          if (ingest.held !== model.bytes) throw new Error(`${ingest.held} bytes held`);
        }
        await ingest.spread(SIZE);
        for (const { start, end } of ingest.holes({ start: 0, end: SIZE })) {
          await put(ingest, bytes, start, end);
        }
        await ingest.verify(SIZE);
        await ingest.commit();
        const blob = await readFile(store.folders.blobPath(digest));
        if (!blob.equals(bytes)) throw new Error('other bytes');
        await store.delete(digest);
        if ((await readdir(join(path, 'ingest'))).length > 0) throw new Error('left over');
        if (store.openFiles.count > 0) throw new Error('left open');
      }),
      { numRuns },
    );
    t.pass();
  });
}

/** All that is said to be there at this place is what the source has there. */
async function read(
  ingest: Ingest,
  bytes: Buffer,
  { position: at, size }: { position: number; size: number },
): Promise<void> {
  const end = Math.min(at + size, ingest.heldFrom(at));
  if (end <= at) return;
  const buffer = Buffer.alloc(end - at);
  await ingest.readAt(buffer, at);
  if (!buffer.equals(bytes.subarray(at, end))) throw new Error(`other bytes at ${at}`);
}

const KILLS: readonly (readonly [Durability, string, number])[] = [
  ['rename', 'fill.written', 7],
  ['rename', 'fill.synced', 20],
  ['rename', 'fill.mapped', 33],
  ['rename', 'spread.mapped', 2],
  ['rename', 'spread.renamed', 2],
  ['rename', 'commit.renamed', 1],
  ['full', 'fill.written', 7],
  ['full', 'fill.synced', 3],
  ['full', 'fill.mapped', 3],
  ['full', 'spread.mapped', 1],
  ['full', 'spread.renamed', 1],
];

for (const [number, [durability, step, count]] of KILLS.entries()) {
  test(`${durability}: killed at ${step}, nothing is said to be there that is not`, async (t) => {
    const path = await createTempFolder(t);
    const args = [WRITER, path, String(number), durability, step, String(count)];
    const [, signal] = await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit');
    t.is(signal, 'SIGKILL');
    const { bytes, digest } = SPARSE;
    const store = await openStore(path, { durability });
    const ingest = await store.ingest(digest, UPSTREAM);
    const size = bytes.length;
    const there = new Intervals([{ start: 0, end: size }]);
    const holes = ingest.holes({ start: 0, end: size });
    t.is(ingest.held, there.bytes - holes.reduce((sum, { start, end }) => sum + end - start, 0));
    // The first bytes stood before the file had holes.
    if (step !== 'commit.renamed') t.true(ingest.written >= 1_000);
    for (let at = 0; at < size; at = Math.max(at + 1, ingest.heldFrom(at))) {
      await read(ingest, bytes, { position: at, size });
    }
    await ingest.spread(size);
    for (const { start, end } of holes) await put(ingest, bytes, start, end);
    await ingest.verify(size);
    await ingest.commit();
    t.deepEqual(await readdir(join(path, 'ingest')), []);
  });
}

/** What the map says beyond what is allowed; nothing while there is none. */
async function claimsBeyond(path: string, digest: Digest, allowed: Intervals): Promise<unknown[]> {
  const inode = (await stat(`${path}+sparse`).catch(() => undefined))?.ino ?? 0;
  const said = await FillMap.read(`${path}+map`, { digest, inode });
  return [...(said?.filled ?? [])].flatMap((interval) => [...allowed.holes(interval)]);
}

test.serial(
  'durability full: nothing is said to be there before it was synced, in groups',
  async (t) => {
    const { path, store, digest } = await setUp(t, { durability: 'full' });
    const partial = join(path, 'ingest', nameOf(digest));
    const [chunk, count] = [Buffer.alloc(1024 * 1024, 1), 150];
    const written = new Intervals();
    let synced = new Intervals();
    let syncs = 0;
    const handle = await open(join(path, 'format'), 'w');
    const prototype = Object.getPrototypeOf(handle) as Pick<FileHandle, 'datasync'>;
    await handle.close();
    const { datasync } = prototype;
    t.teardown(() => Object.assign(prototype, { datasync }));
    prototype.datasync = async function (this: FileHandle) {
      const before = new Intervals(written);
      t.deepEqual(await claimsBeyond(partial, digest, synced), []);
      await datasync.call(this);
      synced = before;
      syncs += 1;
    };
    const ingest = await store.ingest(digest, UPSTREAM);
    await ingest.spread(count * chunk.length);
    for (let at = count - 1; at >= 0; at -= 1) {
      const start = at * chunk.length;
      // Once it is noted it may be synced; it is written before.
      written.add({ start, end: start + chunk.length });
      await ingest.write(chunk, start);
    }
    // On a slow disk the first one takes as long as all the writing.
    t.true(syncs < 20, `${syncs} syncs`);
    await ingest.abort({ keep: true });
    t.true(syncs >= 2, `${syncs} syncs`);
    const again = await store.ingest(digest, UPSTREAM);
    t.is(again.held, count * chunk.length);
    await again.abort({ keep: false });
  },
);

test('durability rename: what was written is in the map when the write is over, so that a kill takes nothing', async (t) => {
  const { path, bytes, digest, open: ingest } = await setUp(t);
  const one = await ingest();
  for (const start of [70_000, 20_000, 40_000]) {
    await put(one, bytes, start, start + 10_000);
    const partial = join(path, 'ingest', nameOf(digest));
    const inode = (await stat(`${partial}+sparse`)).ino;
    const said = await FillMap.read(`${partial}+map`, { digest, inode });
    t.is(said?.filled.bytes, one.held);
    t.is(said?.filled.endFrom(start), start + 10_000);
  }
  await one.abort({ keep: false });
});

test('a file of an earlier version, which has no map, is there up to its length', async (t) => {
  const { path, bytes, digest, open: ingest, names } = await setUp(t);
  await writeFile(join(path, 'ingest', nameOf(digest)), bytes.subarray(0, 5_000));
  const first = await ingest();
  t.is(first.written, 5_000);
  await put(first, bytes, 50_000, 60_000);
  // A program that knows no holes finds nothing under the name that it knows.
  t.deepEqual(await names(), [`${nameOf(digest)}+map`, `${nameOf(digest)}+sparse`]);
  await first.abort({ keep: true });
  const second = await ingest();
  t.is(second.written, 5_000);
  t.is(second.heldFrom(50_000), 60_000);
  t.is(second.held, 15_000);
  await second.abort({ keep: false });
  t.deepEqual(await names(), []);
});

test('a file whose bytes are not the digest’s fails its verification, whatever order they came in', async (t) => {
  const { bytes, open: ingest, names } = await setUp(t);
  const wrong = Buffer.from(bytes);
  wrong[70_000]! ^= 1;
  const one = await ingest();
  await put(one, wrong, 50_000, SIZE);
  await put(one, wrong, 0, 50_000);
  await t.throwsAsync(one.verify(SIZE), { instanceOf: IntegrityError });
  await one.abort({ keep: false });
  t.deepEqual(await names(), []);
});

test('a file with a hole fails its verification', async (t) => {
  const { bytes, open: ingest } = await setUp(t);
  const one = await ingest();
  await put(one, bytes, 0, 50_000);
  await put(one, bytes, 50_001, SIZE);
  await t.throwsAsync(one.verify(SIZE), { instanceOf: IntegrityError });
  await t.throwsAsync(one.verify(undefined), { instanceOf: IntegrityError });
  await one.abort({ keep: false });
});

test('what is there already stays as it is', async (t) => {
  const { bytes, open: ingest } = await setUp(t);
  const one = await ingest();
  await put(one, bytes, 10_000, 20_000);
  await put(one, Buffer.concat([bytes.subarray(0, 10_000), Buffer.alloc(20_000)]), 5_000, 10_000);
  await one.write(Buffer.alloc(10_000), 10_000);
  await read(one, bytes, { position: 5_000, size: 15_000 });
  t.is(one.heldFrom(5_000), 20_000);
  await one.abort({ keep: false });
});

test('a copy of a file with holes and its map proves nothing', async (t) => {
  const { path, bytes, digest, open: ingest, names } = await setUp(t);
  const one = await ingest();
  await put(one, bytes, 50_000, SIZE);
  await one.abort({ keep: true });
  const sparse = join(path, 'ingest', `${nameOf(digest)}+sparse`);
  await copyFile(sparse, `${path}/copy`);
  await rename(`${path}/copy`, sparse);
  const two = await ingest();
  t.is(two.held, 0);
  t.deepEqual(await names(), [nameOf(digest)]);
  await two.abort({ keep: false });
});

for (const left of ['+sparse', '+map', '+map.new', '']) {
  test(`what a kill left of a file with holes goes at the start: ${left || 'an older file'}`, async (t) => {
    const { path, bytes, digest, open: ingest, names } = await setUp(t);
    const one = await ingest();
    await put(one, bytes, 50_000, 60_000);
    await one.abort({ keep: true });
    const name = nameOf(digest);
    const all = ['', '+sparse', '+map', '+map.new'].map((end) => join(path, 'ingest', name + end));
    if (left === '') await writeFile(all[0]!, 'of an older program');
    else if (left === '+map.new') await writeFile(all[3]!, 'half');
    else for (const file of all) if (!file.endsWith(left)) await rm(file, { force: true });
    const store = await openStore(path);
    const isThere = left === '' || left === '+map.new';
    t.deepEqual(await names(), isThere ? [`${name}+map`, `${name}+sparse`] : []);
    t.deepEqual(store.aside.amountOf('ingest'), {
      files: isThere ? 1 : 0,
      bytes: isThere ? 10_000 : 0,
    });
  });
}

test('it counts with the bytes that are there, and goes as one with its map', async (t) => {
  const { path, bytes, open: ingest, store, names } = await setUp(t);
  const one = await ingest();
  await put(one, bytes, 90_000, SIZE);
  t.is(store.aside.claimedBytes, 10_000);
  await one.abort({ keep: true });
  t.deepEqual(store.aside.amountOf('ingest'), { files: 1, bytes: 10_000 });
  t.is(store.aside.idleBytes, 10_000);
  const next = await openStore(path);
  t.deepEqual(next.aside.amountOf('ingest'), { files: 1, bytes: 10_000 });
  t.deepEqual(await next.aside.shed(1), { files: 1, bytes: 10_000 });
  t.deepEqual(await names(), []);
  t.deepEqual(next.aside.amountOf('ingest'), { files: 0, bytes: 0 });
});

test('a disk that does not take the map is told to who writes', async (t) => {
  const { path, bytes, digest, open: ingest } = await setUp(t);
  const one = await ingest();
  await one.append(bytes.subarray(0, 1_000));
  await mkdir(join(path, 'ingest', `${nameOf(digest)}+map.new`));
  await t.throwsAsync(put(one, bytes, 50_000, 60_000));
  // It is as it was.
  t.is(one.held, 1_000);
  await rm(join(path, 'ingest', `${nameOf(digest)}+map.new`), { recursive: true });
  await one.append(bytes.subarray(1_000));
  await one.verify(SIZE);
  await one.commit();
});
