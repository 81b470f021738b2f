import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { Level } from 'level';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { digestOf, parseDigest, type Digest } from '../../src/oci/digest.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import { formatTarget, parseRepository, parseTag, type Target } from '../../src/oci/reference.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import type { ManifestEntry } from '../../src/store/catalog/catalog.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { unitOf } from '../../src/store/catalog/unit.ts';
import { createTempFolder } from '../helpers/mirror.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

function targetOf(repository: string, upstream = 'registry.example'): Target {
  return { upstream, repository: parseRepository(repository) };
}

function digest(seed: string | number): Digest {
  return digestOf(Buffer.from(String(seed)));
}

function descriptor(seed: string | number, extra: Partial<Descriptor> = {}): Descriptor {
  return { mediaType: MANIFEST, digest: digest(seed), size: 10, ...extra };
}

function entry(seed: string | number, extra: Partial<ManifestEntry> = {}): ManifestEntry {
  return { descriptor: descriptor(seed), successors: [], tags: [], ...extra };
}

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

test('every fact survives closing and opening again', async (t) => {
  const { open } = await createWorld(t);
  const first = await open();
  const tag = parseTag('v1');
  const annotated = descriptor('signature', {
    artifactType: 'application/vnd.example',
    annotations: { a: 'b' },
  });
  await first.recordManifest(
    APP,
    entry('index', { successors: [descriptor('child')], tags: [{ tag, checkedAt: 1000 }] }),
    1000,
  );
  await first.recordManifest(
    APP,
    { ...entry('x'), descriptor: annotated, subject: digest('index') },
    1500,
  );
  await first.recordBlob(APP, digest('blob'), { size: 7, storedAt: 2000 });
  await first.recordLink(targetOf('other'), digest('blob'));
  await first.recordTag(APP, parseTag('v2'), { digest: digest('index'), checkedAt: 3000 });
  await first.recordBlob(APP, digest('gone'), { size: 1, storedAt: 1 });
  await first.forgetBlob(digest('gone'));

  const check = async (catalog: LevelCatalog, state: string): Promise<void> => {
    t.deepEqual(
      await catalog.findTag(APP, tag),
      { digest: digest('index'), checkedAt: 1000 },
      state,
    );
    t.deepEqual(
      await catalog.findTag(APP, parseTag('v2')),
      { digest: digest('index'), checkedAt: 3000 },
      state,
    );
    t.deepEqual(
      await catalog.findManifest(APP, digest('index')),
      { mediaType: MANIFEST, size: 10, storedAt: 1000 },
      state,
    );
    t.deepEqual(await catalog.findBlob(digest('index')), { size: 10, storedAt: 1000 }, state);
    t.deepEqual(await catalog.findBlob(digest('blob')), { size: 7, storedAt: 2000 }, state);
    t.is(await catalog.findBlob(digest('gone')), undefined, state);
    t.is(await catalog.findLink(APP, digest('gone')), 'proven', state);
    t.is(await catalog.findLink(APP, digest('index')), 'proven', state);
    t.is(await catalog.findLink(APP, digest('child')), 'claimed', state);
    t.is(await catalog.findLink(APP, digest('blob')), 'proven', state);
    t.is(await catalog.findLink(targetOf('other'), digest('blob')), 'proven', state);
    t.deepEqual(await catalog.listTags(APP), [tag, parseTag('v2')], state);
    t.deepEqual(await catalog.listReferrers(APP, digest('index')), [annotated], state);
    const blobs = await Array.fromAsync(catalog.listBlobs());
    t.deepEqual(
      blobs.map(([name]) => name).toSorted(),
      [digest('index'), digest('signature'), digest('blob')].toSorted(),
      state,
    );
  };
  await check(first, 'as recorded');
  await first.close();
  await check(await open(), 'opened again');
});

test('the upstream and the whole repository are part of every key', async (t) => {
  const { open } = await createWorld(t);
  const catalog = await open();
  const tag = parseTag('v1');
  const subject = digest('subject');
  await catalog.recordManifest(APP, entry('m', { tags: [{ tag, checkedAt: 1 }], subject }), 1);
  await catalog.recordBlob(APP, digest('b'), { size: 1, storedAt: 1 });
  for (const other of [
    targetOf('app', 'other.example'),
    targetOf('app/app'),
    targetOf('ap'),
    targetOf('app2'),
    targetOf('app-x'),
    targetOf('app.x'),
    targetOf('x/app'),
  ]) {
    t.is(await catalog.findTag(other, tag), undefined);
    t.is(await catalog.findManifest(other, digest('m')), undefined);
    t.is(await catalog.findLink(other, digest('b')), undefined);
    t.deepEqual(await catalog.listTags(other), []);
    t.deepEqual(await catalog.listReferrers(other, subject), []);
  }
  t.deepEqual(await catalog.listReferrers(APP, digest('m')), []);
  t.truthy(await catalog.findBlob(digest('b')), 'a blob is the same for all');
});

test('tags are listed in byte order', async (t) => {
  const { open } = await createWorld(t);
  const catalog = await open();
  const tags = ['a', 'Z', '10', '9', '_', 'a.b', 'a-b', 'a_b', 'A', 'aa'].map((tag) =>
    parseTag(tag),
  );
  await catalog.recordManifest(APP, entry(1), 1);
  for (const tag of tags) await catalog.recordTag(APP, tag, { digest: digest(1), checkedAt: 1 });
  await catalog.recordTag(APP, parseTag('not-held'), { digest: digest(2), checkedAt: 1 });
  t.deepEqual(await catalog.listTags(APP), tags.toSorted());
});

test('a claim never replaces a proof, and a proof replaces a claim', async (t) => {
  const { open } = await createWorld(t);
  const catalog = await open();
  const child = descriptor('child');
  await catalog.recordLink(APP, child.digest);
  await catalog.recordManifest(APP, entry('m', { successors: [child, child] }), 1);
  t.is(await catalog.findLink(APP, child.digest), 'proven');
  const other = descriptor('other');
  await catalog.recordManifest(APP, entry('n', { successors: [other] }), 1);
  t.is(await catalog.findLink(APP, other.digest), 'claimed');
  await catalog.recordBlob(APP, other.digest, { size: 10, storedAt: 1 });
  t.is(await catalog.findLink(APP, other.digest), 'proven');
  await catalog.close();
  const again = await open();
  t.is(await again.findLink(APP, child.digest), 'proven');
  t.is(await again.findLink(APP, other.digest), 'proven');
});

test('a child manifest that was claimed is proven once it is held itself', async (t) => {
  const { open } = await createWorld(t);
  const catalog = await open();
  await catalog.recordManifest(APP, entry('index', { successors: [descriptor('child')] }), 1);
  t.is(await catalog.findLink(APP, digest('child')), 'claimed');
  await catalog.recordManifest(APP, entry('child'), 2);
  t.is(await catalog.findLink(APP, digest('child')), 'proven');
});

test('a claim that is recorded while its blob is proven loses', async (t) => {
  const { open } = await createWorld(t);
  const catalog = await open();
  const children = Array.from({ length: 50 }, (_, index) => descriptor(`child ${index}`));
  await Promise.all(
    children.flatMap((child, index) => [
      catalog.recordManifest(APP, entry(`m ${index}`, { successors: [child] }), 1),
      catalog.recordBlob(APP, child.digest, { size: 10, storedAt: 1 }),
    ]),
  );
  await catalog.close();
  const again = await open();
  const links = await Promise.all(children.map(async (child) => again.findLink(APP, child.digest)));
  t.deepEqual([...new Set(links)], ['proven']);
});

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

test('a catalog can be closed at once after its opening', async (t) => {
  const { open } = await createWorld(t);
  await (await open()).close();
  await (await open()).close();
  t.pass();
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

test('a model of the catalog and the catalog agree, before and after opening again', async (t) => {
  const repository = fc.constantFrom('a', 'a/b', 'b');
  const seed = fc.nat(5);
  const tag = fc.constantFrom('v1', 'v2');
  const act = fc.oneof(
    fc.record({ kind: fc.constant('blob' as const), repository, seed }),
    fc.record({ kind: fc.constant('forget' as const), repository, seed }),
    fc.record({ kind: fc.constant('link' as const), repository, seed }),
    fc.record({ kind: fc.constant('tag' as const), repository, seed, tag }),
    fc.record({ kind: fc.constant('look' as const), repository, seed }),
    fc.record({
      kind: fc.constant('manifest' as const),
      repository,
      seed,
      tag,
      children: fc.array(seed, { maxLength: 3 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
      const { open } = await createWorld(t);
      const catalog = await open();
      const blobs = new Set<Digest>();
      const links = new Map<string, string>();
      const tags = new Map<string, Digest>();
      const manifests = new Set<string>();
      for (const [time, next] of acts.entries()) {
        const target = targetOf(next.repository);
        const name = digest(next.seed);
        const link = `${next.repository} ${next.seed}`;
        if (next.kind === 'blob') {
          await catalog.recordBlob(target, name, { size: 1, storedAt: time });
          blobs.add(name);
          links.set(link, 'proven');
        } else if (next.kind === 'forget') {
          await catalog.forgetBlob(name);
          blobs.delete(name);
        } else if (next.kind === 'link') {
          await catalog.recordLink(target, name);
          links.set(link, 'proven');
        } else if (next.kind === 'tag') {
          await catalog.recordTag(target, parseTag(next.tag), { digest: name, checkedAt: time });
          if (manifests.has(link)) tags.set(`${next.repository} ${next.tag}`, name);
        } else if (next.kind === 'manifest') {
          // No manifest can contain its own digest.
          const others = next.children.filter((child) => child !== next.seed);
          const children = others.map((child) => descriptor(child));
          await catalog.recordManifest(
            target,
            entry(next.seed, {
              successors: children,
              tags: [{ tag: parseTag(next.tag), checkedAt: time }],
            }),
            time,
          );
          blobs.add(name);
          for (const child of others) {
            const claim = `${next.repository} ${child}`;
            if (!links.has(claim)) links.set(claim, 'claimed');
          }
          links.set(link, 'proven');
          manifests.add(link);
          tags.set(`${next.repository} ${next.tag}`, name);
        } else {
          await catalog.findLink(target, name);
          await catalog.findBlob(name);
        }
      }
      const check = async (opened: LevelCatalog): Promise<void> => {
        for (const where of ['a', 'a/b', 'b']) {
          for (let number = 0; number <= 5; number += 1) {
            const found = await opened.findLink(targetOf(where), digest(number));
            const expected = links.get(`${where} ${number}`);
            if (found !== expected)
              throw new Error(`link ${where} ${number}: ${found}, not ${expected}`);
            const isHeld = (await opened.findBlob(digest(number))) !== undefined;
            if (isHeld !== blobs.has(digest(number))) throw new Error(`blob ${number}: ${isHeld}`);
          }
          for (const name of ['v1', 'v2']) {
            const found = await opened.findTag(targetOf(where), parseTag(name));
            if (found?.digest !== tags.get(`${where} ${name}`))
              throw new Error(`tag ${where}:${name}`);
          }
        }
      };
      await check(catalog);
      await catalog.close();
      await check(await open());
    }),
    { numRuns: 40 },
  );
  t.pass();
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
  for await (const name of store.list()) {
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
