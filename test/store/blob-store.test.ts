import { mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Digest, digestOf, IntegrityError, parseDigest } from '../../src/oci/digest.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { Gate } from '../helpers/gate.ts';
import { randomBytes } from '../helpers/image.ts';
import { blobPath, createTempFolder, listPartials } from '../helpers/mirror.ts';

interface World {
  readonly path: string;
  readonly store: BlobStore;
  readonly bytes: Buffer;
  readonly digest: Digest;
}

async function createWorld(t: ExecutionContext): Promise<World> {
  const path = await createTempFolder(t);
  const store = await BlobStore.open({ path, durability: 'full' });
  const bytes = randomBytes(t.title, 5000);
  return { path, store, bytes, digest: digestOf(bytes) };
}

async function listAll(store: BlobStore): Promise<Digest[]> {
  return (await Array.fromAsync(store.folders.list())).toSorted();
}

/** Committed files are read-only; damage comes from below. */
async function damage(path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  const bytes = await readFile(path);
  await rm(path);
  await writeFile(path, change(bytes));
}

test('a blob that is not there is not found', async (t) => {
  const { store, digest } = await createWorld(t);
  t.is(await store.find(digest), undefined);
  t.is(await store.find(digest, { size: 5 }), undefined);
  t.is(await store.readBytes(digest), undefined);
  t.deepEqual(await listAll(store), []);
  await t.notThrowsAsync(store.delete(digest));
});

test('what is written while it is removed is there afterwards, and is not found before', async (t) => {
  const { store, bytes, digest } = await createWorld(t);
  await store.writeBytes(digest, bytes);
  const gate = new Gate();
  const removal = store.delete(digest, async () => {
    await gate.pass();
    return false;
  });
  t.is(await store.find(digest), undefined);
  t.is(await store.statBlob(digest), undefined);
  const writing = store.writeBytes(digest, bytes);
  gate.open();
  t.true(await removal);
  await writing;
  t.deepEqual(await store.readBytes(digest), bytes);
});

test('what is written is found, read and listed, also by the next process', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  const other = digestOf(bytes, 'sha512');
  await store.writeBytes(digest, bytes);
  await store.writeBytes(other, bytes);
  for (const opened of [store, await BlobStore.open({ path, durability: 'rename' })]) {
    t.deepEqual(await listAll(opened), [digest, other].toSorted());
    for (const name of [digest, other]) {
      const blob = await opened.find(name);
      t.is(blob?.size, bytes.length);
      t.is(blob?.digest, name);
      t.deepEqual(await opened.readBytes(name), bytes);
      t.truthy(await opened.find(name, { size: bytes.length }));
    }
    t.is(opened.openFiles.count, 0);
  }
  t.is((await stat(blobPath(path, digest))).mode & 0o777, 0o600);
});

test('a file of another size than expected counts as damaged and is removed', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  await store.writeBytes(digest, bytes);
  await damage(blobPath(path, digest), (whole) => whole.subarray(0, -1));
  t.is((await store.find(digest))?.size, bytes.length - 1, 'unchecked without an expectation');
  t.is(await store.find(digest, { size: bytes.length }), undefined);
  t.is(await store.find(digest), undefined);
  t.deepEqual(await listAll(store), []);
  await store.writeBytes(digest, bytes);
  t.deepEqual(await store.readBytes(digest), bytes);
});

test('a damaged file is never read as whole bytes, and is removed', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  const damages: [string, (bytes: Buffer) => Buffer][] = [
    ['a flipped bit', (whole) => Buffer.from(whole.with(100, (whole[100] ?? 0) ^ 1))],
    ['a missing end', (whole) => whole.subarray(0, 4000)],
    ['an empty file', () => Buffer.alloc(0)],
    ['zeroes, as a power loss leaves them', (whole) => Buffer.alloc(whole.length)],
    ['bytes too many', (whole) => Buffer.concat([whole, Buffer.from('x')])],
  ];
  for (const [what, change] of damages) {
    await store.writeBytes(digest, bytes);
    await damage(blobPath(path, digest), change);
    t.is(await store.readBytes(digest), undefined, what);
    t.is(await store.find(digest), undefined, what);
    t.is(store.openFiles.count, 0, what);
  }
});

test('bytes that are not the digest are not kept', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  await t.throwsAsync(store.writeBytes(digest, bytes.subarray(1)), { instanceOf: IntegrityError });
  t.is(await store.find(digest), undefined);
  t.deepEqual(await listPartials(path), []);
  t.is(store.openFiles.count, 0);
});

test('small bytes are written whole beside a part of them that another ingest left', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  const partial = digest.replace(':', '-');
  await writeFile(join(path, 'ingest', partial), Buffer.alloc(6000, 'x'));
  await store.writeBytes(digest, bytes);
  t.deepEqual(await store.readBytes(digest), bytes);
  t.deepEqual(
    (await listPartials(path)).filter((name) => name !== partial),
    [],
  );
});

test('the same bytes written twice at once are kept once and whole', async (t) => {
  const { path, store } = await createWorld(t);
  for (let round = 0; round < 20; round += 1) {
    const bytes = randomBytes(`round ${round}`, 5000);
    const digest = digestOf(bytes);
    const writes = Array.from({ length: 4 }, async () => store.writeBytes(digest, bytes));
    const outcomes = await Promise.allSettled(writes);
    t.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled'],
    );
    t.deepEqual(await store.readBytes(digest), bytes);
    t.deepEqual(await listPartials(path), []);
    t.is(store.openFiles.count, 0);
  }
});

test('a ranged reader gives its slice and closes once', async (t) => {
  const { store, bytes, digest } = await createWorld(t);
  await store.writeBytes(digest, bytes);
  const blob = await store.find(digest);
  const reader = await blob?.open({ start: 100, end: 4200 });
  const parts: Buffer[] = [];
  for (;;) {
    const next = await reader?.read(Buffer.alloc(999));
    if (!next?.length) break;
    parts.push(next);
  }
  t.deepEqual(Buffer.concat(parts), bytes.subarray(100, 4200));
  t.is(store.openFiles.count, 1);
  await reader?.close();
  await reader?.close();
  t.is(store.openFiles.count, 0);
});

test('a reader of a file that shrank fails instead of ending early', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  await store.writeBytes(digest, bytes);
  const blob = await store.find(digest);
  const reader = await blob?.open();
  await truncate(blobPath(path, digest), 1000);
  const scratch = Buffer.alloc(800);
  t.deepEqual(await reader?.read(scratch), bytes.subarray(0, 800));
  t.deepEqual(await reader?.read(scratch), bytes.subarray(800, 1000));
  await t.throwsAsync(async () => reader?.read(scratch), { instanceOf: IntegrityError });
  await reader?.close();
});

test('a reader survives the deletion of its blob', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  await store.writeBytes(digest, bytes);
  const { ctimeMs } = await stat(blobPath(path, digest));
  const trusted = { size: bytes.length, changedAt: ctimeMs };
  const reader = await (await store.find(digest, trusted))?.open();
  await store.delete(digest);
  t.is(await store.find(digest), undefined);
  t.deepEqual(await reader?.read(Buffer.alloc(bytes.length)), bytes);
  t.is((await reader?.read(Buffer.alloc(1)))?.length, 0);
  await reader?.close();
});

test('an ingest of a digest becomes the blob of that digest', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  const ingest = await store.ingest(digest, 'hub.example');
  t.deepEqual(await readdir(join(path, 'ingest')), [`${digest.replace(':', '-')}@hub.example`]);
  await ingest.append(bytes);
  t.is(await store.find(digest), undefined, 'not there before its commit');
  t.deepEqual(await listAll(store), []);
  await ingest.verify(bytes.length);
  await ingest.commit();
  t.deepEqual(await store.readBytes(digest), bytes);
  t.deepEqual(await listAll(store), [digest]);
});

test('the list is of blobs only, whatever else lies about', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  await store.writeBytes(digest, bytes);
  await mkdir(join(path, 'blobs', 'sha256', 'zz'), { recursive: true });
  await writeFile(join(path, 'blobs', 'sha256', digest.slice(7, 9), 'notes.txt'), '');
  await mkdir(join(path, 'blobs', 'md5', 'ab'), { recursive: true });
  await writeFile(join(path, 'blobs', 'md5', 'ab', 'abcd'), '');
  await writeFile(join(path, 'blobs', 'README'), 'a file where folders are');
  await writeFile(join(path, 'blobs', 'sha256', 'README'), 'a file where folders are');
  t.deepEqual(await listAll(store), [digest]);
});

test('a sweep removes what a killed process wrote in one go, and no partial blob', async (t) => {
  const { path, store, bytes, digest } = await createWorld(t);
  await store.writeBytes(digest, bytes);
  const ingest = await store.ingest(digestOf(Buffer.from('partial')), 'hub.example');
  await ingest.append(Buffer.from('part'));
  await ingest.abort({ keep: true });
  const partials = await listPartials(path);
  t.is(partials.length, 1);
  await writeFile(join(path, 'ingest', `${digest.replace(':', '-')}.1234`), bytes.subarray(0, 10));
  await store.folders.sweep();
  t.deepEqual(await listPartials(path), partials);
  t.deepEqual(await listAll(store), [digest]);
});

test('a digest never leads out of the store', (t) => {
  for (const text of ['sha256:../../x', 'sha256:..', '../x:y', 'sha256:%2e%2e']) {
    t.throws(() => parseDigest(text), undefined, text);
  }
});
