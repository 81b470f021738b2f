/** What every catalog promises, whichever database keeps it. */
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { parseRepository, parseTag, type Target } from '../../src/oci/reference.ts';
import {
  unitOf,
  type Catalog,
  type JournalEntry,
  type ManifestEntry,
} from '../../src/store/catalog/catalog.ts';

export interface OpenOptions {
  readonly now?: () => number;
  readonly journal?: (entries: readonly JournalEntry[]) => void;
}

/** Opens one and the same catalog each time, when it was closed before; the test closes it at its end. */
export type OpenCatalog = (options?: OpenOptions) => Promise<Catalog>;

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

export function targetOf(repository: string, upstream = 'registry.example'): Target {
  return { upstream, repository: parseRepository(repository) };
}

export function digest(seed: string | number): Digest {
  return digestOf(Buffer.from(String(seed)));
}

export function descriptor(seed: string | number, extra: Partial<Descriptor> = {}): Descriptor {
  return { mediaType: MANIFEST, digest: digest(seed), size: 10, ...extra };
}

export function entry(seed: string | number, extra: Partial<ManifestEntry> = {}): ManifestEntry {
  return { descriptor: descriptor(seed), successors: [], tags: [], ...extra };
}

const APP = targetOf('app');
const V1 = parseTag('v1');

/** Declares a test for each promise. `create` makes a new catalog and says how it is opened. */
export function testCatalog(create: (t: ExecutionContext) => Promise<OpenCatalog>): void {
  test('what a scanner said of a manifest is kept while any repository holds it', async (t) => {
    const open = await create(t);
    const first = await open();
    await first.recordManifest(APP, entry('a'), 1000);
    await first.recordManifest(targetOf('other'), entry('a'), 1000);
    await first.scans.record(digest('a'), { at: 1 });
    await first.scans.record(digest('absent'), { at: 1 });
    await first.scans.recordScanner({ version: 'v1' });
    await first.close();
    const second = await open();
    t.deepEqual(await second.scans.find(digest('a')), { at: 1 });
    t.deepEqual(await second.scans.findScanner(), { version: 'v1' });
    t.deepEqual(await second.scans.digests(), [digest('a')]);
    await second.evict(unitOf(APP, digest('a')));
    t.deepEqual(await second.scans.digests(), [digest('a')]);
    await second.evict(unitOf(targetOf('other'), digest('a')));
    t.deepEqual(await second.scans.digests(), []);
  });

  test('tags of several repositories are set at once, whatever was known of them, or none is', async (t) => {
    const open = await create(t);
    const entries: JournalEntry[] = [];
    const first = await open({ now: () => 5000, journal: (more) => entries.push(...more) });
    const other = targetOf('other');
    await first.recordManifest(APP, entry('old', { tags: [{ tag: V1, checkedAt: 3000 }] }), 3000);
    await first.recordManifest(APP, entry('new'), 3000);
    await first.recordManifest(other, entry('new'), 3000);
    const mean = (target: Target, name: string) => ({
      target,
      tag: V1,
      record: { digest: digest(name), checkedAt: 1000 },
    });
    await t.throwsAsync(first.setTags([mean(APP, 'new'), mean(other, 'absent')]), {
      message: /is not held, so no tag can mean it/,
    });
    t.is((await first.findTag(APP, V1))?.digest, digest('old'));
    entries.length = 0;
    await first.setTags([mean(APP, 'new'), mean(other, 'new')]);
    const read = async (catalog: Catalog) => [
      (await catalog.findTag(APP, V1))?.digest,
      (await catalog.findTag(other, V1))?.digest,
      await catalog.tagsOf({ target: APP, digest: digest('old') }),
      await catalog.tagsOf({ target: APP, digest: digest('new') }),
    ];
    t.deepEqual(await read(first), [digest('new'), digest('new'), [], [V1]]);
    t.deepEqual(
      entries.map((each) => ('tag' in each ? [each.of, each.is] : [])),
      [
        ['registry.example/app', digest('new')],
        ['registry.example/other', digest('new')],
      ],
    );
    await first.close();
    t.deepEqual(await read(await open()), [digest('new'), digest('new'), [], [V1]]);
  });

  test('blobs that come with their manifest as proven are those of its repository', async (t) => {
    const catalog = await (await create(t))();
    const layers = [descriptor('a'), descriptor('b')];
    const proven = [digest('a')];
    await catalog.recordManifest(APP, entry('image', { successors: layers, proven }), 1000);
    t.is(await catalog.findLink(APP, digest('a')), 'proven');
    t.is(await catalog.findLink(APP, digest('b')), 'claimed');
  });

  test('every fact survives closing and opening again', async (t) => {
    const open = await create(t);
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

    const check = async (catalog: Catalog, state: string): Promise<void> => {
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
      const { upstream } = APP;
      const index = { size: 10, storedAt: 1000, upstream };
      t.deepEqual(await catalog.findBlob(digest('index')), index, state);
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

  test('a blob that comes again came when it first did, and from there', async (t) => {
    const open = await create(t);
    const catalog = await open();
    const size = 10;
    const brought = { size, storedAt: 1000, bundle: 'series 7' };
    for (const name of ['layer', 'image']) await catalog.adoptBlob(digest(name), brought);
    await catalog.recordBlob(APP, digest('layer'), {
      size,
      storedAt: 2000,
      changedAt: 5,
      upstream: APP.upstream,
    });
    await catalog.recordManifest(APP, entry('image'), 2000);
    t.deepEqual(await catalog.findBlob(digest('layer')), {
      ...brought,
      changedAt: 5,
      upstream: APP.upstream,
    });
    t.deepEqual(await catalog.findBlob(digest('image')), brought);
    // Of a file whose origin nobody remembers the next one counts.
    await catalog.adoptBlob(digest('found'), { size, storedAt: 1000 });
    const sent = { size, storedAt: 2000, upstream: APP.upstream };
    await catalog.recordBlob(APP, digest('found'), sent);
    await catalog.adoptBlob(digest('found'), { ...brought, storedAt: 3000 });
    t.deepEqual(await catalog.findBlob(digest('found')), sent);
  });

  test('the upstream and the whole repository are part of every key', async (t) => {
    const open = await create(t);
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
    const open = await create(t);
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
    const open = await create(t);
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
    const open = await create(t);
    const catalog = await open();
    await catalog.recordManifest(APP, entry('index', { successors: [descriptor('child')] }), 1);
    t.is(await catalog.findLink(APP, digest('child')), 'claimed');
    await catalog.recordManifest(APP, entry('child'), 2);
    t.is(await catalog.findLink(APP, digest('child')), 'proven');
  });

  test('a claim that is recorded while its blob is proven loses', async (t) => {
    const open = await create(t);
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
    const links = await Promise.all(
      children.map(async (child) => again.findLink(APP, child.digest)),
    );
    t.deepEqual([...new Set(links)], ['proven']);
  });

  test('a catalog can be closed at once after its opening', async (t) => {
    const open = await create(t);
    await (await open()).close();
    await (await open()).close();
    t.pass();
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
        const open = await create(t);
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
        const check = async (opened: Catalog): Promise<void> => {
          for (const where of ['a', 'a/b', 'b']) {
            for (let number = 0; number <= 5; number += 1) {
              const found = await opened.findLink(targetOf(where), digest(number));
              const expected = links.get(`${where} ${number}`);
              if (found !== expected)
                throw new Error(`link ${where} ${number}: ${found}, not ${expected}`);
              const isHeld = (await opened.findBlob(digest(number))) !== undefined;
              if (isHeld !== blobs.has(digest(number)))
                throw new Error(`blob ${number}: ${isHeld}`);
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

  test('an answer that is older than the recorded one moves no tag, whichever way it comes', async (t) => {
    const told: JournalEntry[] = [];
    const catalog = await (
      await create(t)
    )({
      now: () => 10_000,
      journal: (entries) => told.push(...entries),
    });
    for (const seed of ['old', 'new']) await catalog.recordManifest(APP, entry(seed), 1);
    await catalog.recordTag(APP, V1, { digest: digest('new'), checkedAt: 2000 });
    told.length = 0;
    await catalog.recordTag(APP, V1, { digest: digest('old'), checkedAt: 1000 });
    await catalog.recordManifest(APP, entry('old', { tags: [{ tag: V1, checkedAt: 1000 }] }), 3000);
    // Nor does an older answer that says the same make the record look older.
    await catalog.recordTag(APP, V1, { digest: digest('new'), checkedAt: 1500 });
    t.deepEqual(await catalog.findTag(APP, V1), { digest: digest('new'), checkedAt: 2000 });
    t.deepEqual(await catalog.tagsOf({ target: APP, digest: digest('old') }), []);
    t.deepEqual(await catalog.tagsOf({ target: APP, digest: digest('new') }), [V1]);
    t.false(told.some((each) => 'tag' in each));
    await catalog.recordTag(APP, V1, { digest: digest('old'), checkedAt: 2000 });
    t.deepEqual(await catalog.findTag(APP, V1), { digest: digest('old'), checkedAt: 2000 });
    t.deepEqual(await catalog.tagsOf({ target: APP, digest: digest('new') }), []);
    t.deepEqual(
      told.filter((each) => 'tag' in each),
      [{ tag: V1, of: 'registry.example/app', is: digest('old'), at: 2000 }],
    );
  });

  test('a tag that the upstream has no more stays on record as gone until a later answer has it again', async (t) => {
    const told: JournalEntry[] = [];
    const open = await create(t);
    const first = await open({ now: () => 10_000, journal: (entries) => told.push(...entries) });
    await first.recordManifest(APP, entry('m', { tags: [{ tag: V1, checkedAt: 1000 }] }), 1000);
    told.length = 0;
    const meant = { digest: digest('m'), checkedAt: 1000 };
    await first.recordTag(APP, V1, { ...meant, goneAt: 900 });
    t.deepEqual(await first.findTag(APP, V1), meant, 'an older answer');
    await first.recordTag(APP, V1, { ...meant, goneAt: 2000 });
    // Those that were asked before and answered slowly.
    await first.recordTag(APP, V1, { digest: digest('m'), checkedAt: 1900 });
    await first.recordManifest(APP, entry('m', { tags: [{ tag: V1, checkedAt: 1900 }] }), 2100);
    await first.close();
    const again = await open({ now: () => 10_000, journal: (entries) => told.push(...entries) });
    t.deepEqual(await again.findTag(APP, V1), { ...meant, goneAt: 2000 });
    t.deepEqual(await again.listTags(APP), [V1]);
    t.deepEqual(await again.tagsOf({ target: APP, digest: digest('m') }), [V1]);
    await again.recordTag(APP, V1, { digest: digest('m'), checkedAt: 3000 });
    t.deepEqual(await again.findTag(APP, V1), { digest: digest('m'), checkedAt: 3000 });
    const of = 'registry.example/app';
    t.deepEqual(
      told.filter((each) => 'tag' in each),
      [
        { tag: V1, of, is: digest('m'), at: 1000, until: 2000 },
        { tag: V1, of, is: digest('m'), at: 3000 },
      ],
    );
  });

  test('what a clock that ran ahead has recorded is not later', async (t) => {
    const catalog = await (await create(t))({ now: () => 1000 });
    for (const seed of ['ahead', 'true']) await catalog.recordManifest(APP, entry(seed), 1);
    await catalog.recordTag(APP, V1, { digest: digest('ahead'), checkedAt: 5000 });
    await catalog.recordTag(APP, V1, { digest: digest('true'), checkedAt: 1000 });
    t.deepEqual(await catalog.findTag(APP, V1), { digest: digest('true'), checkedAt: 1000 });
  });

  test('how manifests hang together', async (t) => {
    const catalog = await (await create(t))();
    const children = ['amd', 'arm'].map((seed) => descriptor(seed));
    await catalog.recordManifest(APP, entry('index', { successors: children }), 1);
    await catalog.recordManifest(APP, entry('amd', { successors: [descriptor('layer')] }), 2);
    await catalog.recordManifest(APP, entry('about', { subject: digest('amd') }), 3);
    const cosigned = parseTag(`${digest('index').replace(':', '-')}.sig`);
    const signature = entry('signature', { tags: [{ tag: cosigned, checkedAt: 4 }] });
    await catalog.recordManifest(APP, signature, 4);
    const node = (seed: string) => ({ target: APP, digest: digest(seed) });
    t.deepEqual(
      (await catalog.members(digest('index')))?.successors.map((member) => member.digest),
      children.map((child) => child.digest),
    );
    t.true(await catalog.isHeld(node('amd')));
    t.false(await catalog.isHeld(node('arm')));
    t.deepEqual(await catalog.heldOf(APP, [digest('arm'), digest('amd')]), [digest('amd')]);
    t.deepEqual(await catalog.parents(node('amd')), [digest('index')]);
    t.deepEqual(await catalog.parents(node('about')), [digest('amd')]);
    t.true(await catalog.isRoot(node('index')));
    t.false(await catalog.isRoot(node('amd')));
    t.deepEqual(await Array.fromAsync(catalog.holdersIn(APP, digest('layer'))), [digest('amd')]);
    t.deepEqual(await Array.fromAsync(catalog.holders(digest('layer'))), [node('amd')]);
    t.deepEqual(await Array.fromAsync(catalog.referrers(node('amd'))), [digest('about')]);
    t.deepEqual(await Array.fromAsync(catalog.referrers(node('index'))), [digest('signature')]);
    t.deepEqual(await catalog.attachedTo(node('signature')), [digest('index')]);
    const all = ['index', 'amd', 'about', 'signature'].map((seed) => digest(seed)).toSorted();
    t.deepEqual((await catalog.below(node('index'))).toSorted(), all);
    t.deepEqual(await catalog.ancestors(node('about')), [
      digest('about'),
      digest('amd'),
      digest('index'),
    ]);
    t.deepEqual(
      (await Array.fromAsync(catalog.manifests(), (each) => each.digest)).toSorted(),
      all,
    );
    t.true(await catalog.hasManifests(APP));
    t.false(await catalog.hasManifests(targetOf('ap')));
    t.deepEqual(await catalog.listRepositories('registry.example'), [APP.repository]);
    const [tagged] = await Array.fromAsync(catalog.tags());
    t.deepEqual(tagged, {
      target: APP,
      tag: cosigned,
      record: { digest: digest('signature'), checkedAt: 4 },
    });
  });

  test('an eviction removes what its unit alone holds, as its plan says', async (t) => {
    const open = await create(t);
    const catalog = await open();
    await catalog.counted;
    for (const seed of ['one', 'two']) {
      const successors = [descriptor('shared'), descriptor(`${seed} alone`)];
      const tags = [{ tag: parseTag(seed), checkedAt: 1 }];
      await catalog.recordManifest(APP, entry(seed, { successors, tags }), 1);
      for (const { digest: blob } of successors) {
        await catalog.recordBlob(APP, blob, { size: 10, storedAt: 1 });
      }
    }
    t.deepEqual(catalog.usage, { blobs: 5, bytes: 50 });
    const units = ['one', 'two'].map((seed) => unitOf(APP, digest(seed)));
    const removes = [
      [digest('one'), digest('one alone')],
      [digest('two'), digest('two alone'), digest('shared')],
    ].map((digests) => digests.toSorted());
    const plan = catalog.planEvictions();
    for (const [position, unit] of units.entries()) {
      const { blobs, bytes, tags } = await plan(unit);
      t.deepEqual(blobs.map((blob) => blob.digest).toSorted(), removes[position]);
      t.is(bytes, blobs.length * 10);
      t.deepEqual(tags, [parseTag(['one', 'two'][position]!)]);
    }
    t.deepEqual(catalog.usage, { blobs: 5, bytes: 50 }, 'a plan removes nothing');
    const alone = { tags: [parseTag('one')], manifests: [], unlinked: [], blobs: [], bytes: 0 };
    t.deepEqual(await catalog.evict(units[0]!, parseTag('one')), { ...alone, left: [] });
    t.deepEqual(await catalog.evict(units[0]!, parseTag('two')), { ...alone, tags: [], left: [] });
    t.is(await catalog.findTag(APP, parseTag('one')), undefined);
    t.true(await catalog.isHeld({ target: APP, digest: digest('one') }));
    t.deepEqual(catalog.usage, { blobs: 5, bytes: 50 }, 'a tag has no bytes');
    const { blobs } = await catalog.evict(units[0]!);
    t.deepEqual(blobs.map((blob) => blob.digest).toSorted(), removes[0]);
    t.deepEqual(catalog.usage, { blobs: 3, bytes: 30 });
    t.is(await catalog.findManifest(APP, digest('one')), undefined);
    t.is(await catalog.findTag(APP, parseTag('one')), undefined);
    t.is(await catalog.findLink(APP, digest('one alone')), undefined);
    t.is(await catalog.findLink(APP, digest('shared')), 'proven');
    await catalog.evict(units[1]!);
    t.deepEqual(catalog.usage, { blobs: 0, bytes: 0 });
    await catalog.close();
    const again = await open();
    await again.counted;
    t.deepEqual(again.usage, { blobs: 0, bytes: 0 });
    t.deepEqual(await Array.fromAsync(again.oldest()), []);
  });

  test('units come in the order of their last pulls, which never go back', async (t) => {
    const catalog = await (await create(t))();
    await catalog.recordManifest(APP, entry('first'), 1000);
    await catalog.recordManifest(APP, entry('second', { isPulled: false }), 2000);
    await catalog.adoptBlob(digest('loose'), { size: 1, storedAt: 3000 });
    const [first, second] = [unitOf(APP, digest('first')), unitOf(APP, digest('second'))];
    t.false(await catalog.wasPulled({ target: APP, digest: digest('second') }));
    await catalog.recordAccess(
      new Map([
        [first, { at: 4000, count: 1 }],
        [second, { at: 500, count: 1 }],
        [unitOf(APP, digest('unknown')), { at: 9000, count: 1 }],
      ]),
    );
    t.deepEqual(await Array.fromAsync(catalog.oldest()), [
      { unit: second, time: 1999 },
      { unit: digest('loose'), time: 3000 },
      { unit: first, time: 4000 },
    ]);
    t.is(await catalog.lastPull(first), 4000);
    t.deepEqual(await catalog.lastPulls([second, 'unknown']), [1999, 0]);
    t.true(await catalog.wasPulled({ target: APP, digest: digest('first') }));
  });

  for (const [claim, wrong] of [
    ['ran ahead by years', 9_000_000],
    ['was not set yet', 10],
  ] as const) {
    test(`pulls that were recorded while the clock ${claim} neither keep nor evict an image for ever`, async (t) => {
      let now: number = wrong;
      const catalog = await (await create(t))({ now: () => now });
      await catalog.recordManifest(APP, entry('before'), wrong);
      await catalog.recordManifest(APP, entry('hot'), wrong);
      const [before, hot] = [unitOf(APP, digest('before')), unitOf(APP, digest('hot'))];
      now = 5000;
      await catalog.recordManifest(APP, entry('after'), now);
      const after = unitOf(APP, digest('after'));
      await catalog.recordAccess(new Map([[after, { at: catalog.pullMoment(now), count: 0 }]]));
      now = 6000;
      await catalog.recordAccess(new Map([[hot, { at: catalog.pullMoment(now), count: 0 }]]));
      const order = await Array.fromAsync(catalog.oldest(), ({ unit }) => unit);
      t.deepEqual(order, [before, after, hot]);
    });
  }

  test('how often a manifest was fetched adds up until it is evicted, also over a restart', async (t) => {
    const open = await create(t);
    const catalog = await open();
    const nodes = ['first', 'other', 'unknown'].map((seed) => ({
      target: APP,
      digest: digest(seed),
    }));
    const counts = async (of: Catalog) =>
      Promise.all(nodes.map(async (node) => of.countPulls(node)));
    for (const seed of ['first', 'other']) await catalog.recordManifest(APP, entry(seed), 1000);
    t.deepEqual(await counts(catalog), [0, 0, 0]);
    const [unit, other, unknown] = nodes.map((node) => unitOf(node.target, node.digest));
    for (const at of [4000, 3000]) {
      await catalog.recordAccess(
        new Map([
          [unit!, { at, count: 2 }],
          [other!, { at, count: 0 }],
          [unknown!, { at, count: 7 }],
        ]),
      );
    }
    t.deepEqual(await counts(catalog), [4, 0, 0]);
    t.is(await catalog.lastPull(unit!), 4000);
    await catalog.close();
    const again = await open();
    t.deepEqual(await counts(again), [4, 0, 0]);
    await again.evict(unit!);
    await again.recordManifest(APP, entry('first'), 5000);
    t.deepEqual(await counts(again), [0, 0, 0]);
  });

  test('that a client asked for a blob of a manifest is kept until it is evicted', async (t) => {
    const open = await create(t);
    const catalog = await open();
    const [used, other] = ['used', 'other'].map((seed) => ({ target: APP, digest: digest(seed) }));
    await catalog.recordUse(used!);
    for (const seed of ['used', 'other']) await catalog.recordManifest(APP, entry(seed), 1000);
    t.false(await catalog.wasUsed(used!), 'it was not held');
    await catalog.recordUse(used!);
    await catalog.close();
    const again = await open();
    t.deepEqual([await again.wasUsed(used!), await again.wasUsed(other!)], [true, false]);
    t.false(await again.wasUsed({ ...used!, target: targetOf('elsewhere') }));
    await again.evict(unitOf(APP, used!.digest));
    await again.recordManifest(APP, entry('used'), 2000);
    t.false(await again.wasUsed(used!));
  });

  test('blobs are listed in byte order, all or those of a prefix, however many there are', async (t) => {
    const catalog = await (await create(t))();
    const digests = Array.from({ length: 1100 }, (_, seed) => digest(seed)).toSorted();
    for (const each of digests) await catalog.adoptBlob(each, { size: 1, storedAt: 1 });
    t.deepEqual(await Array.fromAsync(catalog.listBlobs(), ([each]) => each), digests);
    const prefix = 'sha256:a';
    t.deepEqual(
      await Array.fromAsync(catalog.listBlobs(prefix), ([each]) => each),
      digests.filter((each) => each.startsWith(prefix)),
    );
    t.true(await catalog.hasBlob(digests[0]!));
    await catalog.forgetBlob(digests[0]!);
    t.false(await catalog.hasBlob(digests[0]!));
    await catalog.updateBlob(digests[0]!, { verifiedAt: 7 });
    t.is(await catalog.findBlob(digests[0]!), undefined);
    await catalog.updateBlob(digests[1]!, { verifiedAt: 7 });
    t.deepEqual(await catalog.findBlob(digests[1]!), { size: 1, storedAt: 1, verifiedAt: 7 });
  });

  test('blobs that no held manifest lists are told, however many there are', async (t) => {
    const catalog = await (await create(t))();
    const told = async (): Promise<Digest[]> =>
      Array.fromAsync(catalog.unlistedBlobs(), ([each]) => each);
    t.deepEqual(await told(), []);
    const digests = Array.from({ length: 1100 }, (_, seed) => digest(seed)).toSorted();
    for (const each of digests) await catalog.adoptBlob(each, { size: 1, storedAt: 1 });
    t.deepEqual(await told(), digests);
    // Of both pages, and one that is not held.
    const listed = [digests[0]!, digests[999]!, digests[1000]!, digests[1099]!];
    const successors = [...listed, digest('other')].map((each) => ({
      ...descriptor('layer'),
      digest: each,
    }));
    await catalog.recordManifest(APP, entry('m', { successors }), 1);
    t.deepEqual(
      await told(),
      digests.filter((each) => !listed.includes(each)),
    );
    await catalog.evict(unitOf(APP, digest('m')));
    t.deepEqual(
      await told(),
      digests.filter((each) => !listed.includes(each)),
    );
  });

  test('links, pins and the size of the journal', async (t) => {
    const open = await create(t);
    const told: JournalEntry[] = [];
    const catalog = await open({ journal: (entries) => told.push(...entries) });
    await catalog.recordManifest(APP, entry('m', { successors: [descriptor('layer')] }), 1);
    for (const blob of ['layer', 'lone']) await catalog.recordLink(APP, digest(blob));
    t.deepEqual(await catalog.linked(digest('lone')), [APP]);
    const unlisted = { target: APP, digest: digest('lone') };
    t.deepEqual(await Array.fromAsync(catalog.unlistedLinks()), [unlisted]);
    const pin = { origin: 'hand', image: 'registry.example/app:v1', since: 5 };
    told.length = 0;
    await catalog.changePins({ recorded: [{ ...pin, origin: 'sync' }, pin] });
    const forgotten = [{ origin: 'sync', image: pin.image }];
    await catalog.changePins({ recorded: [{ ...pin, reason: 'why' }], forgotten });
    t.deepEqual(told.at(-1), { unpin: { origin: 'sync', image: pin.image } });
    t.is(await catalog.findFigure('journal'), undefined);
    await catalog.recordFigure('journal', 1234);
    await catalog.recordFigure('refused', 56);
    await catalog.close();
    const again = await open();
    t.deepEqual(await again.listPins(), [{ ...pin, reason: 'why' }]);
    t.is(await again.findFigure('journal'), 1234);
    t.is(await again.findFigure('refused'), 56);
  });

  test('what is written after the close is refused, each time, and holds nothing open', async (t) => {
    const open = await create(t);
    const catalog = await open();
    await catalog.recordManifest(APP, entry('m'), 1);
    await catalog.close();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await t.throwsAsync(catalog.recordLink(APP, digest('late')));
    }
    const again = await open();
    t.true(await again.isHeld({ target: APP, digest: digest('m') }));
    t.is(await again.findLink(APP, digest('late')), undefined);
  });
}
