import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import type { Digest } from '../../src/oci/digest.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import type { Damage } from '../../src/api/store-api.ts';
import { Scrubber, type ScrubberParts } from '../../src/store/care/scrubber.ts';
import { Clock, HOUR, MINUTE, SECOND } from '../helpers/clock.ts';
import { buildBlob, type Stored } from '../helpers/image.ts';
import { blobPath, createTempFolder, startMirror, type MirrorOptions } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';
import { HIT, holdImage, through, verify } from './held-image.ts';
import { injure } from './injury.ts';
import { integrityFailures, timesLogged } from './store-report.ts';

const MIB = 1024 * 1024;
const WEEK = 7 * 24 * HOUR;
const BYTES_PER_SECOND = 20 * MIB;

interface World {
  readonly path: string;
  readonly clock: Clock;
  readonly blobs: BlobStore;
  readonly catalog: LevelCatalog;
  readonly held: readonly Stored[];
  /** By digest, when it was found right. */
  readonly reads: Map<string, number[]>;
  readonly found: Damage[];
  readonly log: Record<string, unknown>[];
  /** A scrubber whose pauses pass at once, as the clock goes, up to this time after the start. */
  readonly run: (until: number, parts?: Partial<ScrubberParts>) => Promise<{ pauses: number[] }>;
  readonly scrubber: (parts?: Partial<ScrubberParts>) => Scrubber;
}

async function setUp(t: ExecutionContext): Promise<World> {
  const path = await createTempFolder(t);
  const clock = new Clock();
  const blobs = await BlobStore.open({ path, durability: 'rename' });
  const catalog = await LevelCatalog.open(join(path, 'catalog'), { durability: 'rename' });
  t.teardown(() => catalog.close());
  const held = [1, 2, 3].map((seed) => buildBlob(`${t.title} ${seed}`, seed * MIB));
  for (const { digest, bytes, size } of held) {
    await blobs.writeBytes(digest as Digest, bytes);
    await catalog.adoptBlob(digest as Digest, { size, storedAt: clock.now() });
  }
  const reads = new Map<string, number[]>();
  const updateBlob = catalog.updateBlob.bind(catalog);
  catalog.updateBlob = async (digest, change) => {
    reads.set(digest, [...(reads.get(digest) ?? []), clock.now()]);
    return updateBlob(digest, change);
  };
  const found: Damage[] = [];
  const log: Record<string, unknown>[] = [];
  const scrubber = (parts: Partial<ScrubberParts> = {}): Scrubber =>
    new Scrubber({
      blobs,
      catalog,
      heal: async () => 'nobody has it',
      found: (damage) => found.push(damage),
      log: pino({}, { write: (line: string) => log.push(JSON.parse(line) as object as never) }),
      now: clock.now,
      ...parts,
    });
  const run: World['run'] = async (until, parts) => {
    const end = clock.now() + until;
    const pauses: number[] = [];
    const reached = Promise.withResolvers<void>();
    const pause = async (ms: number, signal: AbortSignal): Promise<void> => {
      signal.throwIfAborted();
      if (clock.now() + ms > end) {
        reached.resolve();
        await aborted(signal);
      }
      pauses.push(ms);
      clock.advance(ms);
    };
    const begun = scrubber({ ...parts, pause });
    begun.start();
    await reached.promise;
    await begun.close();
    return { pauses };
  };
  return { path, clock, blobs, catalog, held, reads, found, log, run, scrubber };
}

async function aborted(signal: AbortSignal): Promise<never> {
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  throw signal.reason;
}

test('the scrub reads each blob once a week, at its pace, and leaves the rest of the time alone', async (t) => {
  const { clock, held, reads, found, run, blobs } = await setUp(t);
  const start = clock.now();
  const { pauses } = await run(3 * WEEK + 12 * HOUR);
  t.is(pauses[0], MINUTE);
  for (const { digest } of held) {
    const [first = 0, second = 0, third = 0, ...more] = reads.get(digest) ?? [];
    t.deepEqual(more, []);
    t.true(first - start >= WEEK && first - start < WEEK + 2 * HOUR);
    t.true(second - first >= WEEK && second - first < WEEK + 2 * HOUR);
    t.true(third - second >= WEEK && third - second < WEEK + 2 * HOUR);
  }
  const waited = pauses.slice(1).filter((ms) => ms !== HOUR);
  const size = held.reduce((sum, blob) => sum + blob.size, 0);
  const expected = (3 * size * SECOND) / BYTES_PER_SECOND;
  t.is(Math.round(waited.reduce((sum, ms) => sum + ms, 0)), Math.round(expected));
  t.deepEqual(found, []);
  t.is(blobs.openFiles.count, 0);
});

test('a blob that was stored while the clock ran ahead is read in the first pass', async (t) => {
  const { clock, held, reads, run } = await setUp(t);
  clock.setBack(52 * WEEK);
  await run(12 * HOUR);
  t.deepEqual(
    held.map(({ digest }) => reads.get(digest)?.length),
    [1, 1, 1],
  );
});

test('rot that no time stamp shows is found by the scrub, told once, and healed when it can be', async (t) => {
  const { path, clock, catalog, held, found, run } = await setUp(t);
  const [rotten] = held as [Stored];
  const digest = rotten.digest as Digest;
  const target = { upstream: 'registry.example', repository: 'app' as never };
  const size = rotten.size;
  await catalog.recordBlob(target, digest, { size, storedAt: clock.now() });
  await injure(path, rotten, 'flipped');
  const { ctimeMs } = await stat(blobPath(path, digest));
  await catalog.updateBlob(digest, { changedAt: ctimeMs });
  const asked: Digest[] = [];
  const heal = async (which: Digest): Promise<string | undefined> => {
    asked.push(which);
    return asked.length < 3 ? 'the upstream is down' : undefined;
  };
  await run(WEEK + 12 * HOUR, { heal });
  t.deepEqual(found, [
    { digest, fault: 'damaged', images: [], healed: false, reason: 'the upstream is down' },
  ]);
  t.deepEqual(asked, [digest, digest, digest]);
  t.is(await catalog.findBlob(digest), undefined);
});

test('a scrub that is closed stops in the middle of a blob and leaves no file open', async (t) => {
  const { clock, blobs, reads, log, scrubber } = await setUp(t);
  clock.advance(WEEK);
  const reading = Promise.withResolvers<void>();
  const pause = async (ms: number, signal: AbortSignal): Promise<void> => {
    if (ms === MINUTE) return;
    reading.resolve();
    await aborted(signal);
  };
  const begun = scrubber({ pause });
  begun.start();
  await reading.promise;
  t.is(blobs.openFiles.count, 1);
  await begun.close();
  t.is(blobs.openFiles.count, 0);
  t.deepEqual([...reads], []);
  t.deepEqual(log, []);
});

test('a catalog that cannot be read for a moment does not end the scrub', async (t) => {
  const { clock, catalog, held, reads, log, run } = await setUp(t);
  clock.advance(WEEK);
  const listBlobs = catalog.listBlobs.bind(catalog);
  catalog.listBlobs = () => {
    catalog.listBlobs = listBlobs;
    throw new Error('the database is not open');
  };
  await run(3 * HOUR);
  t.deepEqual([...reads.keys()].toSorted(), held.map(({ digest }) => digest).toSorted());
  t.deepEqual(
    log.map(({ msg }) => msg),
    ['the scrub is interrupted'],
  );
});

test('a catalog that cannot be written does not make right bytes damaged', async (t) => {
  const { catalog, held, found, log, scrubber } = await setUp(t);
  catalog.updateBlob = async () => {
    throw new Error('no space left');
  };
  const begun = scrubber();
  begun.verify();
  await until('the verification ends', () => !begun.state.running);
  t.deepEqual(begun.state.last?.damaged, []);
  t.is(begun.state.last?.blobs, held.length);
  t.deepEqual(found, []);
  t.is(log.filter(({ msg }) => msg === 'the catalog could not be written').length, held.length);
  await begun.close();
});

const INJURIES = [
  ['flipped', 'damaged'],
  ['cut short', 'truncated'],
  ['deleted', 'missing'],
  ['replaced by a folder', 'missing'],
] as const;

for (const [injury, fault] of INJURIES) {
  test(`verify: what is ${injury} is fetched again`, async (t) => {
    const { registry, mirror, image, blob } = await holdImage(t);
    const held = [...image.blobs, image.manifest];
    for (const part of held) await injure(mirror.storePath, part, injury);
    const { damaged } = await verify(mirror);
    t.deepEqual(
      damaged,
      held
        .map(({ digest }) => digest)
        .toSorted()
        .map((digest) => ({ digest, fault, images: ['docker.io/library/app'], healed: true })),
    );
    t.is(registry.requests.filter(({ method }) => method === 'GET').length, held.length);
    t.deepEqual(await integrityFailures(mirror), { scrub: held.length });
    t.is(timesLogged(mirror, 'a held blob is damaged'), held.length);
    await mirror.idle();
    for (const part of image.blobs) t.is((await blob(part)).headers['cache-status'], HIT);
    const { damaged: none, blobs } = await verify(mirror);
    t.deepEqual({ none, blobs }, { none: [], blobs: held.length });
  });
}

type Absence = 'is down' | 'has it no more' | 'is not to be asked';

for (const [absence, reason] of [
  ['is down', /^docker\.io: no connection to \S+ \(ECONNREFUSED\)$/],
  ['has it no more', /^docker\.io\/library\/app has it no more$/],
  ['is not to be asked', /offline/],
] as readonly [Absence, RegExp][]) {
  test(`verify: damage is told with its reason when the upstream ${absence}`, async (t) => {
    const first = await holdImage(t);
    const { registry, image } = first;
    const layer = image.layer(0);
    const upstreams = { 'docker.io': { url: registry.url } };
    const storePath = first.mirror.storePath;
    await first.mirror.stop();
    const options: MirrorOptions = {
      upstreams,
      storePath,
      offline: absence === 'is not to be asked',
    };
    const { mirror, blob } = through(await startMirror(t, options));
    await injure(storePath, layer, 'flipped');
    if (absence === 'is down') await registry.refuse();
    if (absence === 'has it no more') registry.remove(layer);
    const { damaged } = await verify(mirror);
    const [only] = damaged as { reason?: string }[];
    t.regex(only?.reason ?? '', reason);
    const known = {
      digest: layer.digest,
      fault: 'damaged',
      images: ['docker.io/library/app'],
    };
    t.deepEqual(damaged, [{ ...known, healed: false, reason: only?.reason }]);
    if (absence === 'is not to be asked') return;
    t.not((await blob(layer)).status, 200);
    // It is told again until it is whole.
    t.deepEqual((await verify(mirror)).damaged.length, 1);

    if (absence === 'is down') await registry.accept();
    else registry.addBlob('library/app', layer);
    t.deepEqual((await verify(mirror)).damaged, [{ ...known, healed: true }]);
    await mirror.idle();
    t.true((await blob(layer)).body.equals(layer.bytes));
    t.deepEqual((await verify(mirror)).damaged, []);
    t.deepEqual(await integrityFailures(mirror), { scrub: 1 });
  });
}

test('rot that no time stamp shows is found by verify', async (t) => {
  const { mirror, image, blob } = await holdImage(t);
  const layer = image.layer(0);
  await injure(mirror.storePath, layer, 'flipped');
  const { ctimeMs } = await stat(blobPath(mirror.storePath, layer.digest));
  await mirror.server.catalog.updateBlob(layer.digest as Digest, { changedAt: ctimeMs });
  const { damaged } = await verify(mirror);
  t.deepEqual(damaged, [
    { digest: layer.digest, fault: 'damaged', images: ['docker.io/library/app'], healed: true },
  ]);
  await mirror.idle();
  t.true((await blob(layer)).body.equals(layer.bytes));
});
