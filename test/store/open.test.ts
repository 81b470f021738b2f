import files, { cp, lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BlobRecord } from '../../src/store/catalog/catalog.ts';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import type { Config } from '../../src/config/config.ts';
import { startEngine } from '../../src/engine.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import type { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { Store } from '../../src/store/store.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import {
  createStore,
  describe,
  fillCatalog,
  fillFiles,
  fillMore,
  openCatalog,
} from './held-store.ts';

/** Filled by `held-store.ts`, and written by a program that put no number on its stores. */
const WITHOUT_NUMBER = fileURLToPath(new URL('fixtures/format-2', import.meta.url));

/** Filled in the same way, and with more, by the last program that let one blob hold up the healing of others. */
const BEFORE = fileURLToPath(new URL('fixtures/format-2-uses', import.meta.url));

async function openStore(t: ExecutionContext, path: string): Promise<Store> {
  const store = await Store.open({
    config: {
      path,
      durability: 'rename',
      maxBytes: 2 ** 40,
      maxBlobShare: 1,
      minFreeBytes: 0,
      pins: [],
    },
    pins: [],
    metrics: new Metrics(),
    log: pino({ level: 'silent' }),
    now: Date.now,
  });
  t.teardown(async () => store.close());
  return store;
}

/** The number of the format, and the id of the store. */
const FORMAT_FILE = /^2\n[0-9a-f-]{36}\n$/;

test('a store of a program that put no number on it opens with all it holds, and has one then', async (t) => {
  const path = await createTempFolder(t);
  await cp(WITHOUT_NUMBER, path, { recursive: true });
  const store = await openStore(t, path);
  const same = await createStore(t);
  await fillFiles(same.path, same.store);
  const wanted = await openCatalog(t, same.path);
  await fillCatalog(wanted);
  t.deepEqual(await describe(store.catalog as LevelCatalog), await describe(wanted));
  store.care.settle();
  await store.care.settled;
  for await (const digest of store.blobs.folders.list())
    t.truthy(await store.blobs.readBytes(digest));
  t.regex(await readFile(join(path, 'format'), 'utf8'), FORMAT_FILE);
  await store.close();
  await t.notThrowsAsync(openStore(t, path));
});

test('a store of the program before this one opens with all it holds, also without its catalog', async (t) => {
  const path = await createTempFolder(t);
  await cp(BEFORE, path, { recursive: true });
  const [store, same] = [await openStore(t, path), await openStore(t, await createTempFolder(t))];
  await fillFiles(same.path, same.blobs);
  await fillCatalog(same.catalog);
  await fillMore(same.catalog);
  const wanted = await describe(same.catalog as LevelCatalog);
  const held = await describe(store.catalog as LevelCatalog);
  t.deepEqual(withoutOrigins(held), withoutOrigins(wanted));
  for await (const digest of store.blobs.folders.list())
    t.truthy(await store.blobs.readBytes(digest));
  await store.close();
  await rm(join(path, 'catalog'), { recursive: true });
  const anew = await describe((await openStore(t, path)).catalog as LevelCatalog);
  const { tags, members, referrers, pins } = wanted;
  t.like(anew, { tags, members, referrers, pins });
});

/** The program before this one did not note through which upstream a manifest came, nor when it was first seen. */
function withoutOrigins(facts: Awaited<ReturnType<typeof describe>>) {
  const records = facts['blobs'] as [string, BlobRecord][];
  const blobs = records.map(([digest, record]) => {
    const { upstream: _upstream, ...others } = record;
    return [digest, others];
  });
  const text = JSON.stringify({ ...facts, blobs }, (key, value: unknown) =>
    key === 'seenAt' ? undefined : value,
  );
  return JSON.parse(text) as unknown;
}

test('a store of a newer program is refused with what to do, and nothing of it is touched', async (t) => {
  const path = await createTempFolder(t);
  await writeFile(join(path, 'format'), '3\n');
  await mkdir(join(path, 'catalog.new'));
  for (const refused of [
    async () => openStore(t, path),
    async () => Store.rebuild({ path, durability: 'rename' }),
  ]) {
    const error = await t.throwsAsync(refused);
    t.is(
      error?.message,
      `${path} was written by a newer version (format 3, this one knows 2): run that version, or point store.path elsewhere`,
    );
  }
  t.deepEqual((await readdir(path)).toSorted(), ['catalog.new', 'format']);
});

test("a store keeps its id, which is no other one's, also when it is written by the program before this one", async (t) => {
  const path = await createTempFolder(t);
  const [first, other] = [await openStore(t, path), await openStore(t, await createTempFolder(t))];
  t.not(first.id, other.id);
  await first.close();
  t.is(await Store.idAt(path), first.id);
  t.is((await openStore(t, path)).id, first.id);
  const before = await createTempFolder(t);
  await cp(BEFORE, before, { recursive: true });
  t.is(await Store.idAt(before), undefined);
  const { id } = await openStore(t, before);
  t.truthy(id);
  t.is(await Store.idAt(before), id);
});

test('a number that a power loss left empty is written again', async (t) => {
  const path = await createTempFolder(t);
  await (await openStore(t, path)).close();
  await writeFile(join(path, 'format'), '');
  await openStore(t, path);
  t.regex(await readFile(join(path, 'format'), 'utf8'), FORMAT_FILE);
});

test('a file that LevelDB removes from its folder while that is looked at holds up no start', async (t) => {
  const path = await createTempFolder(t);
  await (await openStore(t, path)).close();
  const going = join(path, 'catalog', 'going');
  await writeFile(going, '');
  const real = lstat;
  t.teardown(() => {
    files.lstat = real;
    syncBuiltinESMExports();
  });
  files.lstat = (async (...given: Parameters<typeof real>) => {
    if (given[0] === going) await rm(going);
    return real(...given);
  }) as typeof real;
  syncBuiltinESMExports();
  await openStore(t, path);
  t.false((await readdir(join(path, 'catalog'))).includes('going'));
});

test('a start that fails after the store was opened closes it', async (t) => {
  const upstreams = { 'docker.io': { url: 'http://127.0.0.1:9' } };
  const mirror = await startMirror(t, { upstreams });
  await mirror.stop();
  const { config } = mirror;
  const broken: Config = {
    ...config,
    get sync(): never {
      throw new Error('broken');
    },
  };
  const log = pino({ level: 'silent' });
  await t.throwsAsync(startEngine(broken, { log }), { message: 'broken' });
  const engine = await startEngine(config, { log });
  await engine.close();
});
