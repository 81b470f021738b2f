import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { Level } from 'level';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import { formatTarget, parseTag } from '../../src/oci/reference.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { unitOf } from '../../src/store/catalog/catalog.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { testAdmissionFacts } from './admission-facts-contract.ts';
import { descriptor, digest, entry, targetOf, testCatalog } from './catalog-contract.ts';

interface World {
  readonly path: string;
  readonly open: () => Promise<LevelCatalog>;
}

async function createWorld(t: ExecutionContext): Promise<World> {
  const path = join(await createTempFolder(t), 'catalog');
  const open = async (): Promise<LevelCatalog> => {
    const catalog = await LevelCatalog.open(path, { durability: 'full' });
    t.teardown(async () => catalog.close());
    return catalog;
  };
  return { path, open };
}

const APP = targetOf('app');

for (const promises of [testCatalog, testAdmissionFacts]) {
  promises(async (t) => {
    const path = join(await createTempFolder(t), 'catalog');
    return async (options) => {
      const catalog = await LevelCatalog.open(path, { durability: 'full', ...options });
      t.teardown(async () => catalog.close());
      return catalog;
    };
  });
}

test('a catalog of a newer version is refused, says so and stays as it is', async (t) => {
  const { path, open } = await createWorld(t);
  await (await open()).close();
  const setSchema = async (schema: number): Promise<void> => {
    const db = new Level<string, unknown>(path, { valueEncoding: 'json' });
    await db.sublevel<string, number>('meta', { valueEncoding: 'json' }).put('schema', schema);
    await db.close();
  };
  await setSchema(3);
  const error = await t.throwsAsync(open());
  t.regex(error?.message ?? '', /newer version \(format 3, this one knows 2\)/);
  t.true(error?.message.includes(dirname(path)));
  await t.throwsAsync(open(), { message: /newer version/ }, 'the lock was given back');
  await setSchema(2);
  await t.notThrowsAsync(open());
});

test('the second of two openers is told who is in the way, and may open afterwards', async (t) => {
  const { path, open } = await createWorld(t);
  const first = await open();
  const error = await t.throwsAsync(open());
  t.regex(error?.message ?? '', /in use by another process/);
  t.true(error?.message.includes(dirname(path)));
  await first.recordManifest(APP, entry(1), 1);
  await first.recordTag(APP, parseTag('v1'), { digest: digest(1), checkedAt: 1 });
  await first.close();
  const second = await open();
  t.truthy(await second.findTag(APP, parseTag('v1')));
});

const WRITER = fileURLToPath(new URL('crash-writer.ts', import.meta.url));

test('whenever a process is killed, the catalog and the files agree and nothing promised is lost', async (t) => {
  const path = await createTempFolder(t);
  const promised = { manifests: new Map<Digest, string>(), blobs: new Set<Digest>() };
  for (let round = 0; round < 6; round += 1) {
    await writeUntilKilled(path, round, promised);
    const catalog = await LevelCatalog.open(join(path, 'catalog'), { durability: 'full' });
    const store = await BlobStore.open({ path, durability: 'full' });
    t.deepEqual(await disagreements(catalog, store), [], `round ${round}`);
    const app = targetOf('app');
    for (const [manifest, tag] of promised.manifests) {
      t.truthy(await catalog.findManifest(app, manifest));
      t.is((await catalog.findTag(app, parseTag(tag)))?.digest, manifest);
    }
    for (const blob of promised.blobs) t.truthy(await catalog.findBlob(blob));
    t.is(store.openFiles.count, 0);
    await catalog.close();
  }
  t.true(promised.blobs.size > 6, 'the writer did write');
});

async function writeUntilKilled(
  path: string,
  round: number,
  promised: { manifests: Map<Digest, string>; blobs: Set<Digest> },
): Promise<void> {
  const child = spawn(process.execPath, [WRITER, path, String(round)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
  // At a random moment after a random number of promises: mostly in the middle of a write.
  let left = 2 + Math.floor(Math.random() * 25);
  for await (const line of createInterface({ input: child.stdout })) {
    const [kind, name = '', tag = ''] = line.split(' ');
    if (kind === 'manifest') promised.manifests.set(parseDigest(name), tag);
    else promised.blobs.add(parseDigest(name));
    left -= 1;
    if (left === 0) setTimeout(() => child.kill('SIGKILL'), Math.random() * 15);
  }
  const [code, signal] = await exited;
  if (signal !== 'SIGKILL') throw new Error(`the writer ended by itself: ${code}`);
}

/** Every record against its file, every file against its name, every manifest against its links. */
async function disagreements(catalog: LevelCatalog, store: BlobStore): Promise<string[]> {
  const found: string[] = [];
  for await (const [name, { size }] of catalog.listBlobs()) {
    const blob = await store.find(name);
    if (blob?.size !== size) found.push(`${name} is recorded with ${size}, not ${blob?.size}`);
  }
  for await (const name of store.folders.list()) {
    if (!(await store.readBytes(name))) found.push(`${name} is damaged`);
  }
  for await (const [key] of catalog.tables.manifests.iterator()) {
    const [place = '', name = ''] = key.split(' ');
    const target = targetOf(place.slice(place.indexOf('/') + 1));
    const bytes = await store.readBytes(parseDigest(name));
    if (!bytes) {
      found.push(`manifest ${name} has no bytes`);
      continue;
    }
    for (const child of parseManifest(bytes).successors) {
      if (!(await catalog.findLink(target, child.digest)))
        found.push(`${name} lost ${child.digest}`);
    }
  }
  return found;
}

for (const [fact, prove] of [
  ['a link', async (catalog: LevelCatalog, blob: Digest) => catalog.recordLink(APP, blob)],
  [
    'a blob',
    async (catalog: LevelCatalog, blob: Digest) =>
      catalog.recordBlob(APP, blob, { size: 10, storedAt: 1 }),
  ],
] as const) {
  test(`${fact} that is recorded while its image goes is in memory what it is in the database`, async (t) => {
    const catalog = await (await createWorld(t)).open();
    const blob = digest('layer');
    const listing = entry('image', { successors: [descriptor('layer')] });
    await catalog.recordManifest(APP, listing, 1);
    const holdersIn = catalog.holdersIn.bind(catalog);
    const asked = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    catalog.holdersIn = async function* (...place) {
      asked.resolve();
      await gate.promise;
      yield* holdersIn(...place);
    };
    const proving = prove(catalog, blob);
    await asked.promise;
    const going = catalog.evict(unitOf(APP, digest('image')));
    // It may not come between; one that does is over long before.
    await Promise.race([going, sleep(300)]);
    gate.resolve();
    await Promise.all([proving, going]);
    t.is(await catalog.findLink(APP, blob), await catalog.link(`${blob} ${formatTarget(APP)}`));
  });
}
