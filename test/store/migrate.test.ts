import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chmod, cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { Level } from 'level';
import { digestOf, parseDigest } from '../../src/oci/digest.ts';
import { formatTarget, parseTag } from '../../src/oci/reference.ts';
import type { BlobStore } from '../../src/store/files/blob-store.ts';
import { Catalog } from '../../src/store/catalog/catalog.ts';
import { blobPath } from '../helpers/mirror.ts';
import {
  APP,
  createStore,
  describe,
  entryOf,
  fillCatalog,
  fillFiles,
  openCatalog,
  PIN,
  RECORDED,
  WORLD,
} from './held-store.ts';

const CRASH = fileURLToPath(new URL('step-crash.ts', import.meta.url));
const LOST = digestOf(Buffer.from('a manifest whose file is gone'));

/** As version 1 wrote it. */
async function writeSchema1(path: string, store: BlobStore): Promise<void> {
  const db = new Level<string, unknown>(join(path, 'catalog'), { valueEncoding: 'json' });
  const put = async (table: string, key: string, value: unknown): Promise<void> =>
    db.sublevel<string, unknown>(table, { valueEncoding: 'json' }).put(key, value);
  for (const recorded of RECORDED) {
    const { at, blobs } = recorded;
    const of = formatTarget(recorded.target);
    const { descriptor, successors, subject, tags } = await entryOf(store, recorded);
    const { digest, mediaType, size } = descriptor;
    await put('manifests', `${of} ${digest}`, { mediaType, size, storedAt: at });
    await put('blobs', digest, { size, storedAt: at });
    await put('proofs', `${of} ${digest}`, 1);
    for (const successor of successors) await put('claims', `${of} ${successor.digest}`, 1);
    for (const { tag, checkedAt } of tags) await put('tags', `${of} ${tag}`, { digest, checkedAt });
    if (subject) await put('referrers', `${of} ${subject} ${digest}`, descriptor);
    for (const blob of blobs?.blobs ?? []) {
      await put('blobs', blob.digest, { size: blob.size, storedAt: at });
      await put('proofs', `${of} ${blob.digest}`, 1);
    }
  }
  const of = formatTarget(APP);
  await put('blobs', WORLD.loose, { size: 50, storedAt: 6000 });
  await put('proofs', `${of} ${WORLD.loose}`, 1);
  await put('meta', 'schema', 1);
  await db.close();
}

/** A manifest of which only the records are there, with a tag and a subject. */
async function addLost(path: string): Promise<void> {
  const db = new Level<string, unknown>(join(path, 'catalog'), { valueEncoding: 'json' });
  const put = async (table: string, key: string, value: unknown): Promise<void> =>
    db.sublevel<string, unknown>(table, { valueEncoding: 'json' }).put(key, value);
  const of = formatTarget(APP);
  const { mediaType } = WORLD.index.manifest;
  await put('manifests', `${of} ${LOST}`, { mediaType, size: 9, storedAt: 1 });
  await put('blobs', LOST, { size: 9, storedAt: 1 });
  await put('tags', `${of} lost`, { digest: LOST, checkedAt: 1 });
  await put('referrers', `${of} ${WORLD.index.manifest.digest} ${LOST}`, {
    mediaType,
    digest: LOST,
    size: 9,
  });
  await db.close();
}

/** What a catalog of today would know, without the pin, which version 1 had none of. */
async function expected(t: ExecutionContext): Promise<Record<string, unknown>> {
  const { path, store } = await createStore(t);
  await fillFiles(path, store);
  const catalog = await openCatalog(t, path);
  await fillCatalog(catalog, store);
  await catalog.tables.pins.del(`${PIN.origin} ${PIN.image}`);
  return describe(catalog);
}

test('a catalog of schema 1 becomes what today would have been written', async (t) => {
  const { path, store } = await createStore(t);
  await fillFiles(path, store);
  await writeSchema1(path, store);
  const catalog = await openCatalog(t, path);
  t.deepEqual(await describe(catalog), await expected(t));
  t.deepEqual(await catalog.tables.meta.iterator().all(), [['schema', 2]]);
  for (const table of ['proofs', 'claims']) {
    t.deepEqual(await catalog.tables.db.sublevel(table).keys().all(), []);
  }
});

test('manifests whose bytes are gone or broken are dropped with their tags', async (t) => {
  const { path, store } = await createStore(t);
  await fillFiles(path, store);
  await writeSchema1(path, store);
  await addLost(path);
  const broken = blobPath(path, WORLD.cosigned.manifest.digest);
  await chmod(broken, 0o600);
  await appendFile(broken, 'x');
  const catalog = await openCatalog(t, path);
  const { links, ...described } = await describe(catalog);
  for (const digest of [LOST, WORLD.cosigned.manifest.digest]) {
    t.false(JSON.stringify(described).includes(digest), digest);
  }
  const { cosigned, signature, index } = WORLD;
  // The repository still has it, as with every file that is lost.
  t.true((links as string[]).includes(`${cosigned.manifest.digest} ${formatTarget(APP)}`));
  t.deepEqual(await catalog.listTags(APP), ['latest', 'v1'].map(parseTag));
  const referrers = await catalog.listReferrers(APP, parseDigest(index.manifest.digest));
  t.deepEqual(
    referrers.map(({ digest }) => digest),
    [parseDigest(signature.manifest.digest)],
  );
});

test('without the blobs an older catalog is left alone', async (t) => {
  const { path, store } = await createStore(t);
  await fillFiles(path, store);
  await writeSchema1(path, store);
  await t.throwsAsync(Catalog.open(join(path, 'catalog'), { durability: 'rename' }), {
    message: /without its blobs/,
  });
  const catalog = await openCatalog(t, path);
  t.deepEqual(await describe(catalog), await expected(t));
});

const STEPS = [
  ['migrate.cleared', 1],
  ['migrate.manifest', 3],
  ['migrate.manifests', 1],
  ['migrate.tags', 1],
  ['migrate.links', 1],
  ['migrate.filled', 1],
  ['migrate.proofs-cleared', 1],
  ['migrate.claims-cleared', 1],
  ['migrate.done', 1],
] as const;

test('killed at any step, a migration begins anew and ends the same', async (t) => {
  const { path, store } = await createStore(t);
  await fillFiles(path, store);
  await writeSchema1(path, store);
  await cp(join(path, 'catalog'), join(path, 'schema-1'), { recursive: true });
  const wanted = await expected(t);
  for (const [step, count] of STEPS) {
    await rm(join(path, 'catalog'), { recursive: true });
    await cp(join(path, 'schema-1'), join(path, 'catalog'), { recursive: true });
    const dead = spawn(process.execPath, [CRASH, 'migrate', path, step, String(count)], {
      stdio: 'inherit',
    });
    t.deepEqual(await once(dead, 'exit'), [null, 'SIGKILL'], step);
    const catalog = await openCatalog(t, path);
    t.deepEqual(await describe(catalog), wanted, step);
    t.deepEqual(await catalog.tables.meta.iterator().all(), [['schema', 2]], step);
    await catalog.close();
  }
});

test('what is lost between two attempts is not remembered from the first', async (t) => {
  const { path, store } = await createStore(t);
  await fillFiles(path, store);
  await writeSchema1(path, store);
  const dead = spawn(process.execPath, [CRASH, 'migrate', path, 'migrate.links'], {
    stdio: 'inherit',
  });
  await once(dead, 'exit');
  await rm(blobPath(path, WORLD.lone.manifest.digest));
  const catalog = await openCatalog(t, path);
  const { members, holders, access } = await describe(catalog);
  t.false(JSON.stringify([members, holders, access]).includes(WORLD.lone.manifest.digest));
});
