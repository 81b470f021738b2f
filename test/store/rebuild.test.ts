import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chmod, cp, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { Level } from 'level';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { formatTarget, parseTag } from '../../src/oci/reference.ts';
import { unitOf, type JournalEntry } from '../../src/store/catalog/catalog.ts';
import { Journal } from '../../src/store/journal/journal.ts';
import { CatalogSwap } from '../../src/store/catalog/catalog-swap.ts';
import { Store } from '../../src/store/store.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { blobPath } from '../helpers/mirror.ts';
import {
  APP,
  createStore,
  describe,
  fillCatalog,
  fillFiles,
  openCatalog,
  OTHER,
  PIN,
  WORLD,
} from './held-store.ts';
import { APP as APP_OF_IMAGES, ImageStore } from './image-store.ts';

const CRASH = fileURLToPath(new URL('step-crash.ts', import.meta.url));

type Described = Record<string, unknown>;

/** A store with files, journal and a closed catalog, and what that answered. */
async function createWorld(t: ExecutionContext): Promise<{ path: string; answered: Described }> {
  const { path, store } = await createStore(t);
  await fillFiles(path, store);
  const journal = await Journal.open(join(path, 'journal'));
  const catalog = await openCatalog(t, path, (entries) => journal.append(entries));
  await fillCatalog(catalog);
  const answered = await describe(catalog);
  await catalog.close();
  await journal.close();
  return { path, answered };
}

/** Nobody writes down which repository served a blob that a manifest there lists. */
function withoutListedLinks(answered: Described): Described {
  const { links, holders } = answered as { links: string[]; holders: string[] };
  const isKept = (link: string): boolean => {
    const [digest = ''] = link.split(' ');
    const held = holders.filter((holder) => holder.startsWith(`${link} `));
    return held.length === 0 || held.includes(`${link} ${digest}`);
  };
  return { ...answered, links: links.filter(isKept) };
}

async function describeStore(t: ExecutionContext, path: string): Promise<Described> {
  const catalog = await openCatalog(t, path);
  const answered = await describe(catalog);
  await catalog.close();
  return answered;
}

async function writeSchema(catalog: string, version: number): Promise<void> {
  const db = new Level<string, unknown>(catalog, { valueEncoding: 'json' });
  await db.sublevel<string, number>('meta', { valueEncoding: 'json' }).put('schema', version);
  await db.close();
}

async function rebuild(path: string) {
  return Store.rebuild({ path, durability: 'rename' });
}

async function appendJournal(path: string, entries: readonly JournalEntry[]): Promise<void> {
  const journal = await Journal.open(join(path, 'journal'));
  journal.append(entries);
  await journal.close();
}

test('files and journal make the catalog that was', async (t) => {
  const { path, answered } = await createWorld(t);
  t.deepEqual(await rebuild(path), { manifests: 6, tags: 5, blobs: 13, images: 4 });
  t.deepEqual(await describeStore(t, path), withoutListedLinks(answered));
  t.deepEqual((await readdir(path)).toSorted(), [
    'blobs',
    'catalog',
    'ingest',
    'journal',
    'quarantine',
  ]);
});

test('a catalog that is made anew knows when a manifest was first seen, also one that came again', async (t) => {
  const { path } = await createWorld(t);
  const { digest, mediaType } = WORLD.lone.manifest;
  const entry = { manifest: parseDigest(digest), of: formatTarget(OTHER), type: mediaType };
  await appendJournal(path, [{ ...entry, at: 9000, seen: 1000 }]);
  await rebuild(path);
  const { admission } = await openCatalog(t, path);
  t.is(await admission.firstSight(OTHER, parseDigest(digest)), 1000);
  t.is(await admission.firstSight(APP, parseDigest(WORLD.signature.manifest.digest)), 3000);
});

test('what a manifest lists is claimed until it is proven anew', async (t) => {
  const { path } = await createWorld(t);
  await rebuild(path);
  const catalog = await openCatalog(t, path);
  const layer = parseDigest(WORLD.lone.layer(0).digest);
  t.is(await catalog.findLink(OTHER, layer), 'claimed');
  t.is(await catalog.findLink(APP, layer), undefined);
  t.is(await catalog.findLink(APP, WORLD.loose), 'proven');
  t.is(await catalog.findLink(OTHER, WORLD.loose), undefined);
  t.is(await catalog.findLink(OTHER, parseDigest(WORLD.lone.manifest.digest)), 'proven');
});

for (const [title, spoil] of [
  ['is missing', async (catalog: string) => rm(catalog, { recursive: true })],
  ['lost its manifest file', async (catalog: string) => rm(join(catalog, 'CURRENT'))],
  [
    'is full of rubbish',
    async (catalog: string) => {
      for (const name of await readdir(catalog)) await writeFile(join(catalog, name), 'rubbish');
    },
  ],
] as const) {
  test(`an old catalog that ${title} is no hindrance`, async (t) => {
    const { path, answered } = await createWorld(t);
    await spoil(join(path, 'catalog'));
    await rebuild(path);
    t.deepEqual(await describeStore(t, path), withoutListedLinks(answered));
  });
}

test('without a journal the blobs are known and nothing else', async (t) => {
  const { path, answered } = await createWorld(t);
  await rm(join(path, 'journal'));
  t.deepEqual(await rebuild(path), { manifests: 0, tags: 0, blobs: 13, images: 0 });
  const { blobs, oldest, access, ...rest } = await describeStore(t, path);
  t.deepEqual(blobs, answered['blobs']);
  t.is((oldest as unknown[]).length, 13);
  t.is((access as unknown[]).length, 13);
  for (const [name, value] of Object.entries(rest)) t.deepEqual(value, [], name);
});

test('a torn journal costs its last entry', async (t) => {
  const { path, answered } = await createWorld(t);
  await appendFile(join(path, 'journal'), '{"unpin":{"origin":"hand","image":"registry.example/a');
  await rebuild(path);
  t.deepEqual(await describeStore(t, path), withoutListedLinks(answered));
});

test('a damaged manifest is left out, with its tags; the rest stands', async (t) => {
  const { path } = await createWorld(t);
  const damaged = parseDigest(WORLD.lone.manifest.digest);
  await chmod(blobPath(path, damaged), 0o600);
  await writeFile(blobPath(path, damaged), 'x'.repeat(WORLD.lone.manifest.size));
  t.deepEqual(await rebuild(path), { manifests: 5, tags: 4, blobs: 12, images: 3 });
  const catalog = await openCatalog(t, path);
  t.is(await catalog.findManifest(OTHER, damaged), undefined);
  t.is(await catalog.findBlob(damaged), undefined);
  t.deepEqual(await catalog.listTags(OTHER), [parseTag('copy')]);
  t.is(await catalog.findLink(OTHER, parseDigest(WORLD.lone.layer(0).digest)), undefined);
  // It is a unit of its own now.
  t.is(typeof (await catalog.lastPull(WORLD.lone.layer(0).digest)), 'number');
});

test('the last word about a thing counts', async (t) => {
  const { path } = await createWorld(t);
  const of = formatTarget(APP);
  const { index, signature, images } = WORLD;
  const digestOf = ({ manifest }: { manifest: { digest: string } }): Digest =>
    parseDigest(manifest.digest);
  const index0 = digestOf(index);
  const moved = digestOf(images[0]!);
  const signed = digestOf(signature);
  await appendJournal(path, [
    { tag: parseTag('v1'), of, is: moved, at: 7000 },
    { tag: parseTag('removed'), of, is: moved, at: 7000, until: 7500 },
    { untagged: parseTag('latest'), of },
    { gone: signed, of },
    { gone: index0, of },
    { manifest: index0, of, type: index.manifest.mediaType, at: 8000 },
    { gone: WORLD.loose, of },
    { unpin: { origin: PIN.origin, image: PIN.image } },
  ]);
  await rebuild(path);
  const catalog = await openCatalog(t, path);
  t.deepEqual(await catalog.findTag(APP, parseTag('v1')), { digest: moved, checkedAt: 7000 });
  const removed = { digest: moved, checkedAt: 7000, goneAt: 7500 };
  t.deepEqual(await catalog.findTag(APP, parseTag('removed')), removed);
  t.is(await catalog.findTag(APP, parseTag('latest')), undefined);
  t.is(await catalog.findManifest(APP, signed), undefined);
  t.deepEqual(await catalog.listReferrers(APP, index0), []);
  t.is((await catalog.findManifest(APP, index0))?.storedAt, 8000);
  t.is(await catalog.lastPull(unitOf(APP, index0)), 8000);
  t.is(await catalog.findLink(APP, WORLD.loose), undefined);
  t.deepEqual(await catalog.tables.pins.keys().all(), []);
});

test('a catalog that is in use is not rebuilt, nor disturbed', async (t) => {
  const { path } = await createWorld(t);
  const catalog = await openCatalog(t, path);
  const before = await describe(catalog);
  await t.throwsAsync(rebuild(path), { message: /in use by another process/ });
  t.deepEqual(await describe(catalog), before);
  t.false((await readdir(path)).includes('catalog.new'));
});

test('the catalog of a newer version is not replaced', async (t) => {
  const { path } = await createWorld(t);
  await writeSchema(join(path, 'catalog'), 1000);
  await t.throwsAsync(rebuild(path), { message: /written by a newer version/ });
  t.deepEqual(
    (await readdir(path)).filter((name) => name.startsWith('catalog')),
    ['catalog'],
  );
});

test('while a catalog is rebuilt, no other process begins to use the store', async (t) => {
  const { path } = await createWorld(t);
  const refused: unknown[] = [];
  const attempts: Promise<unknown>[] = [];
  await Store.rebuild({
    path,
    durability: 'rename',
    step: (name) => {
      if (name !== 'rebuild.replayed') return;
      for (const attempt of [CatalogSwap.recover(path), openCatalog(t, path), rebuild(path)]) {
        attempts.push(attempt.catch((error: unknown) => refused.push((error as Error).message)));
      }
    },
  });
  await Promise.all(attempts);
  t.is(refused.length, 3);
  t.true(refused.every((message) => String(message).includes('in use by another process')));
});

const STEPS = [
  'rebuild.replayed',
  'rebuild.manifests',
  'rebuild.blobs',
  'rebuild.filled',
  'rebuild.built',
  'rebuild.old-aside',
  'rebuild.swapped',
  'rebuild.done',
];

test('killed at any step, the old or the new catalog is there', async (t) => {
  const { path, answered } = await createWorld(t);
  await cp(join(path, 'catalog'), join(path, 'kept'), { recursive: true });
  for (const [position, step] of STEPS.entries()) {
    await rm(join(path, 'catalog'), { recursive: true });
    await cp(join(path, 'kept'), join(path, 'catalog'), { recursive: true });
    const dead = spawn(process.execPath, [CRASH, 'rebuild', path, step], { stdio: 'inherit' });
    t.deepEqual(await once(dead, 'exit'), [null, 'SIGKILL'], step);
    await CatalogSwap.recover(path);
    const isNew = position >= STEPS.indexOf('rebuild.built');
    const wanted = isNew ? withoutListedLinks(answered) : answered;
    t.deepEqual(await describeStore(t, path), wanted, step);
    const names = (await readdir(path)).filter((name) => name.startsWith('catalog'));
    t.deepEqual(names, ['catalog'], step);
    await CatalogSwap.recover(path);
    t.deepEqual(await describeStore(t, path), wanted, `${step}, once more`);
  }
});

test('an old catalog that was put aside without a new one comes back', async (t) => {
  const { path, answered } = await createWorld(t);
  await rename(join(path, 'catalog'), join(path, 'catalog.old'));
  await mkdir(join(path, 'catalog.new'));
  await CatalogSwap.recover(path);
  t.deepEqual(await describeStore(t, path), answered);
  t.deepEqual(
    (await readdir(path)).filter((name) => name.startsWith('catalog')),
    ['catalog'],
  );
});

test('a platform with a tag of its own outlives its index, also in a catalog that is made anew', async (t) => {
  const told: JournalEntry[] = [];
  const store = await ImageStore.open(t, { journal: (entries) => told.push(...entries) });
  const child = buildImage({ seed: 'child', layers: [100] });
  const platform = { os: 'linux', architecture: 'amd64' };
  const index = buildIndex([{ image: child, platform }]);
  await store.keepManifest(index.manifest, { tags: ['index'] });
  await store.keep(child, { tags: ['child'] });
  const digest = parseDigest(child.manifest.digest);
  const { catalog } = store;
  t.is(await catalog.findLink(APP_OF_IMAGES, digest), 'proven');
  await catalog.evict(unitOf(APP_OF_IMAGES, parseDigest(index.manifest.digest)));
  t.is(await catalog.findLink(APP_OF_IMAGES, digest), 'proven');
  t.deepEqual(await catalog.listTags(APP_OF_IMAGES), [parseTag('child')]);
  t.deepEqual(
    told.filter((entry) => 'gone' in entry).map(({ gone }) => gone),
    [index.manifest.digest],
  );
  const journal = await Journal.open(join(store.path, 'journal'));
  journal.append(told);
  await journal.close();
  await catalog.close();
  await rebuild(store.path);
  const anew = await openCatalog(t, store.path);
  t.deepEqual(await anew.listTags(APP_OF_IMAGES), [parseTag('child')]);
  t.truthy(await anew.findManifest(APP_OF_IMAGES, digest));
});
