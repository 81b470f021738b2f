import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import type { Damage } from '../../src/api/store-api.ts';
import { Scrubber } from '../../src/store/care/scrubber.ts';
import { Clock } from '../helpers/clock.ts';
import { Gate } from '../helpers/gate.ts';
import { buildBlob, type Stored } from '../helpers/image.ts';
import { blobPath, createTempFolder } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';

interface World {
  readonly path: string;
  readonly blobs: BlobStore;
  readonly catalog: LevelCatalog;
  readonly blob: Stored;
  readonly scrubber: Scrubber;
  readonly found: Damage[];
  /** Where a pass has read the first record and judged nothing yet. */
  readonly gate: Gate;
  /** Resolves with what a pass has found. */
  readonly end: () => Promise<readonly Damage[] | undefined>;
}

/** One blob whose record has this size, and a scrubber that waits at the gate in its pass. */
async function setUp(t: ExecutionContext, recordedSize: number): Promise<World> {
  const path = await createTempFolder(t);
  const { now } = new Clock();
  const blobs = await BlobStore.open({ path, durability: 'rename' });
  const catalog = await LevelCatalog.open(join(path, 'catalog'), { durability: 'rename' });
  t.teardown(async () => catalog.close());
  const blob = buildBlob(t.title, 30_000);
  const digest = parseDigest(blob.digest);
  await blobs.writeBytes(digest, blob.bytes);
  await catalog.adoptBlob(digest, { size: recordedSize, storedAt: now() });
  const gate = new Gate();
  const listBlobs = catalog.listBlobs.bind(catalog);
  catalog.listBlobs = async function* () {
    for await (const entry of listBlobs()) {
      await gate.pass();
      yield entry;
    }
  };
  const found: Damage[] = [];
  const scrubber = new Scrubber({
    blobs,
    catalog,
    heal: async () => 'nobody has it',
    found: (damage) => found.push(damage),
    log: pino({ level: 'silent' }),
    now,
  });
  t.teardown(async () => scrubber.close());
  const end = async (): Promise<readonly Damage[] | undefined> => {
    while (scrubber.state.running) await readdir(path);
    return scrubber.state.last?.damaged;
  };
  return { path, blobs, catalog, blob, scrubber, found, gate, end };
}

test('a file is judged by its record of now, not by that of when the pass began', async (t) => {
  const { path, blobs, catalog, blob, scrubber, found, gate, end } = await setUp(t, 20_000);
  scrubber.verify();
  await gate.arrived();
  const digest = parseDigest(blob.digest);
  await catalog.updateBlob(digest, { size: blob.size });
  gate.open();
  t.deepEqual(await end(), []);
  t.deepEqual(found, []);
  t.deepEqual(await blobs.readBytes(digest), blob.bytes);
  t.is((await catalog.findBlob(digest))?.size, blob.size);
  t.deepEqual(await readdir(join(path, 'quarantine')), []);
});

test('what was let go of since the pass began is not told as missing', async (t) => {
  const { blobs, catalog, blob, scrubber, found, gate, end } = await setUp(t, 30_000);
  scrubber.verify();
  await gate.arrived();
  const digest = parseDigest(blob.digest);
  await catalog.evict(digest);
  await blobs.delete(digest);
  gate.open();
  t.deepEqual(await end(), []);
  t.deepEqual(found, []);
});

test('a file of another length than its record goes into quarantine', async (t) => {
  const { path, catalog, blob, scrubber, found, gate, end } = await setUp(t, 20_000);
  gate.open();
  scrubber.verify();
  const digest = parseDigest(blob.digest);
  const damage = { digest, fault: 'truncated', images: [], healed: false, reason: 'nobody has it' };
  t.deepEqual(await end(), [damage] as Damage[]);
  t.deepEqual(found, [damage] as Damage[]);
  t.is(await catalog.findBlob(digest), undefined);
  t.is((await readdir(join(path, 'quarantine'))).length, 1);
  await t.throwsAsync(readdir(blobPath(path, digest)), { code: 'ENOENT' });
});

test('the close does not wait for what is fetched again', async (t) => {
  const { path, blobs, catalog, blob, found, gate } = await setUp(t, 30_000);
  gate.open();
  await rm(blobPath(path, blob.digest));
  const healing = Promise.withResolvers<AbortSignal>();
  const scrubber = new Scrubber({
    blobs,
    catalog,
    heal: async (_, signal) => {
      healing.resolve(signal);
      return new Promise(() => undefined);
    },
    found: (damage) => found.push(damage),
    log: pino({ level: 'silent' }),
    now: new Clock().now,
  });
  scrubber.verify();
  const signal = await healing.promise;
  t.false(signal.aborted);
  await scrubber.close();
  t.true(signal.aborted);
  t.is(scrubber.state.running, undefined);
  t.deepEqual(found, []);
});

test('no iterator of the catalog is open while a scrub reads a blob', async (t) => {
  const { catalog, scrubber, gate, end } = await setUp(t, 30_000);
  const { blobs } = catalog.tables;
  const iterator = blobs.iterator.bind(blobs);
  let isOpen = 0;
  blobs.iterator = ((range: object) => {
    const opened = iterator(range);
    const all = opened.all.bind(opened);
    isOpen += 1;
    return Object.assign(opened, {
      all: async () => {
        const page = await all();
        // It closes itself at its end.
        isOpen -= 1;
        return page;
      },
    });
  }) as typeof blobs.iterator;
  scrubber.verify();
  await gate.arrived();
  t.is(isOpen, 0);
  gate.open();
  t.deepEqual(await end(), []);
});

test('a slow upstream holds up neither the reading nor what others have', async (t) => {
  const { path, blobs, catalog, gate } = await setUp(t, 30_000);
  gate.open();
  const digests: Record<string, Digest[]> = { slow: [], good: [] };
  for (const n of [0, 1, 2, 3]) {
    for (const [upstream, list] of Object.entries(digests)) {
      const blob = buildBlob(`${upstream} ${n}`, 1000);
      const digest = parseDigest(blob.digest);
      const target = { upstream, repository: parseRepository('app') };
      await blobs.writeBytes(digest, blob.bytes);
      await catalog.recordBlob(target, digest, { size: blob.size, storedAt: 0 });
      await rm(blobPath(path, blob.digest));
      list.push(digest);
    }
  }
  const slow = new Gate();
  const asked: Digest[] = [];
  const found: Damage[] = [];
  const scrubber = new Scrubber({
    blobs,
    catalog,
    heal: async (digest) => {
      asked.push(digest);
      if (digests['slow']!.includes(digest)) await slow.pass();
      return undefined;
    },
    found: (damage) => found.push(damage),
    log: pino({ level: 'silent' }),
    now: new Clock().now,
  });
  t.teardown(async () => scrubber.close());
  scrubber.verify();
  await slow.arrived();
  await until('all of the good upstream are whole', () => found.length === 4);
  t.deepEqual(found.map(({ digest }) => digest).toSorted(), digests['good']!.toSorted());
  t.is(asked.length, 5);
  await until('all is read', () => scrubber.state.running?.blobs === 9);
  slow.open();
  await until('the verification ends', () => scrubber.state.running === undefined);
  t.is(scrubber.state.last?.damaged.filter(({ healed }) => healed).length, 8);
  t.is(asked.length, 8);
});
