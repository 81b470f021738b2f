import { mkdir, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Level } from 'level';
import { pino } from 'pino';
import type { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { Store } from '../../src/store/store.ts';
import { timesLogged } from '../faults/store-report.ts';
import { HIT, holdImage, MISS, through, type HeldImage } from '../faults/held-image.ts';
import { injure } from '../faults/injury.ts';
import { get, TruncatedError } from '../helpers/client.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';

const DAMAGED = 'the catalog is damaged and is made anew from the files';
const GONE = 'the catalog is gone and is made anew from the files';

interface Damage {
  readonly to: string;
  readonly said: string;
  readonly strike: (catalog: string) => Promise<unknown>;
}

/** What bad power and hands leave of a LevelDB. */
const DAMAGES: readonly Damage[] = [
  { to: 'a MANIFEST cut short', said: DAMAGED, strike: async (path) => cut(path, 'MANIFEST', 10) },
  { to: 'an empty MANIFEST', said: DAMAGED, strike: async (path) => cut(path, 'MANIFEST', 0) },
  { to: 'a missing MANIFEST', said: DAMAGED, strike: async (path) => remove(path, 'MANIFEST') },
  { to: 'an empty CURRENT', said: DAMAGED, strike: async (path) => cut(path, 'CURRENT', 0) },
  { to: 'a missing CURRENT', said: GONE, strike: async (path) => remove(path, 'CURRENT') },
  { to: 'a missing folder', said: GONE, strike: async (path) => rm(path, { recursive: true }) },
  { to: 'a table cut short', said: DAMAGED, strike: async (path) => cut(path, '0', 10) },
  {
    to: 'a CURRENT that leads out of the folder',
    said: DAMAGED,
    strike: async (path) => writeFile(join(path, 'CURRENT'), '../../etc/passwd\n'),
  },
  {
    to: 'a folder in the place of LOCK',
    said: DAMAGED,
    strike: async (path) => {
      await rm(join(path, 'LOCK'));
      await mkdir(join(path, 'LOCK'));
    },
  },
  {
    to: 'a format that cannot be read',
    said: DAMAGED,
    strike: async (path) => put(path, 'nonsense'),
  },
  { to: 'a format that is no number', said: DAMAGED, strike: async (path) => put(path, '"two"') },
  {
    to: 'a file in the place of the folder',
    said: DAMAGED,
    strike: async (path) => {
      await rm(path, { recursive: true });
      await writeFile(path, 'x');
    },
  },
];

/** Puts this in the place of the catalog's format, or of another record. */
async function put(catalog: string, value: string, key = '!meta!schema'): Promise<void> {
  await using db = new Level(catalog);
  await db.put(key, value);
}

async function files(catalog: string, name: string): Promise<string[]> {
  const names = await readdir(catalog);
  return names.filter((each) => each.startsWith(name)).map((each) => join(catalog, each));
}

async function cut(catalog: string, name: string, size: number): Promise<void> {
  for (const path of await files(catalog, name)) await truncate(path, size);
}

async function remove(catalog: string, name: string): Promise<void> {
  for (const path of await files(catalog, name)) await rm(path);
}

/**
 * A store that was closed, whose upstream is gone. It was opened twice: what LevelDB had only in its
 * log, which needs neither CURRENT nor MANIFEST to be found, is in its tables by then.
 */
async function leaveStore(t: ExecutionContext): Promise<HeldImage> {
  const scene = await holdImage(t);
  await scene.mirror.stop();
  await (await startAgain(t, scene)).stop();
  await scene.registry.refuse();
  return scene;
}

async function startAgain(t: ExecutionContext, { mirror }: HeldImage): Promise<TestMirror> {
  return startMirror(t, {
    storePath: mirror.storePath,
    upstreams: { 'docker.io': { url: mirror.config.upstreams['docker.io']!.url } },
  });
}

async function servesAll(
  t: ExecutionContext,
  { image }: HeldImage,
  mirror: TestMirror,
): Promise<void> {
  const { manifest, blob } = through(mirror);
  const byTag = await manifest('v1');
  t.deepEqual(byTag.body, image.manifest.bytes);
  t.deepEqual((await manifest(image.manifest.digest)).body, image.manifest.bytes);
  for (const part of image.blobs) {
    const answer = await blob(part);
    t.deepEqual(answer.body, part.bytes);
    t.is(answer.headers['cache-status'], HIT);
  }
  const tags = await get(`${mirror.url}/v2/library/app/tags/list`);
  t.deepEqual(JSON.parse(tags.body.toString()), { name: 'library/app', tags: ['v1'] });
  const { blobs } = mirror.server.catalog.usage;
  t.is(blobs, image.blobs.length + 1);
}

for (const { to, said, strike } of DAMAGES) {
  test(`${to}: the server starts, says so, and serves what it held`, async (t) => {
    const scene = await leaveStore(t);
    await strike(join(scene.mirror.storePath, 'catalog'));
    const mirror = await startAgain(t, scene);
    t.is(timesLogged(mirror, said), 1);
    t.is(timesLogged(mirror, 'the catalog was made anew'), 1);
    const aside = await readdir(join(scene.mirror.storePath, 'quarantine'));
    t.deepEqual(aside, said === DAMAGED ? ['catalog'] : []);
    await servesAll(t, scene, mirror);
    await mirror.stop();
    const next = await startAgain(t, scene);
    t.is(timesLogged(next, said), 0);
    await servesAll(t, scene, next);
  });
}

test('a store that is new or whole says nothing of its catalog', async (t) => {
  const scene = await leaveStore(t);
  const again = await startAgain(t, scene);
  for (const mirror of [scene.mirror, again]) {
    for (const said of [DAMAGED, GONE]) t.is(timesLogged(mirror, said), 0);
  }
  await servesAll(t, scene, again);
});

for (const { to, strike } of DAMAGES) {
  test(`${to}, and the end of the process while it is made good: the next start does it`, async (t) => {
    const scene = await leaveStore(t);
    const { storePath, config } = scene.mirror;
    await strike(join(storePath, 'catalog'));
    const step = (name: string): void => {
      if (name === 'rebuild.filled') throw new Error('the process ends here');
    };
    const parts = {
      config: config.store,
      pins: [],
      metrics: new Metrics(),
      log: pino({ level: 'silent' }),
      now: Date.now,
      step,
    };
    await t.throwsAsync(Store.open(parts), { message: 'the process ends here' });
    await servesAll(t, scene, await startAgain(t, scene));
  });
}

test('a catalog that is in use is not made anew', async (t) => {
  const scene = await holdImage(t);
  await t.throwsAsync(startAgain(t, scene), { message: /in use|another process/ });
  t.deepEqual((await scene.manifest('v1')).body, scene.image.manifest.bytes);
});

test('a store without a catalog and without a journal starts empty', async (t) => {
  const storePath = await createTempFolder(t);
  const mirror = await startMirror(t, {
    storePath,
    upstreams: { 'docker.io': { url: 'http://127.0.0.1:9' } },
  });
  t.deepEqual(mirror.server.catalog.usage, { blobs: 0, bytes: 0 });
  t.is(timesLogged(mirror, GONE), 0);
});

test('damage that is met in use is made good by the next start', async (t) => {
  const scene = await holdImage(t);
  const { mirror } = scene;
  const { tables } = mirror.server.catalog as LevelCatalog;
  const getTag = tables.tags.get.bind(tables.tags);
  tables.tags.get = async () => {
    throw Object.assign(new Error('corrupted block'), { code: 'LEVEL_CORRUPTION' });
  };
  const other = await get(`${mirror.url}/v2/library/app/manifests/unknown`);
  t.is(other.status, 404);
  tables.tags.get = getTag;
  await mirror.stop();
  await scene.registry.refuse();
  const next = await startAgain(t, scene);
  t.is(timesLogged(next, DAMAGED), 1);
  await servesAll(t, scene, next);
  await next.stop();
  t.is(timesLogged(await startAgain(t, scene), DAMAGED), 0);
});

test('a record that is no record is met while the store counts, and the next start makes it good', async (t) => {
  const scene = await leaveStore(t);
  const { digest } = scene.image.layer(0);
  await put(join(scene.mirror.storePath, 'catalog'), '{"size":', `!blobs!${digest}`);
  const mirror = await startAgain(t, scene);
  t.is(timesLogged(mirror, DAMAGED), 0);
  await mirror.server.catalog.counted;
  // Its checks would read the record.
  await mirror.abandon();
  const next = await startAgain(t, scene);
  t.is(timesLogged(next, DAMAGED), 1);
  await servesAll(t, scene, next);
});

/** The catalog is made anew, and knows of no file whether it is as it was. */
async function makeAnew(
  t: ExecutionContext,
  scene: HeldImage,
  before: () => Promise<void> = async () => undefined,
): Promise<TestMirror> {
  const { mirror, registry } = scene;
  await mirror.stop();
  await before();
  await rm(join(mirror.storePath, 'catalog'), { recursive: true });
  const upstreams = { 'docker.io': { url: registry.url } };
  return startMirror(t, { storePath: mirror.storePath, upstreams });
}

test('a part of a blob that nobody has looked at since comes unverified, and all of it is read', async (t) => {
  const scene = await holdImage(t);
  const mirror = await makeAnew(t, scene);
  const layer = scene.image.layer(0);
  const { blob } = through(mirror);
  const part = await blob(layer, { range: 'bytes=10-19' });
  t.is(part.status, 206);
  t.true(part.body.equals(layer.bytes.subarray(10, 20)));
  t.is(part.headers['cache-control'], 'no-store');
  t.is(part.headers['etag'], undefined);
  await mirror.idle();
  const later = await blob(layer, { range: 'bytes=10-19' });
  t.is(later.headers['cache-control'], 'max-age=31536000, immutable');
  t.false(scene.registry.conversation().some((line) => line.startsWith('GET')));
});

test('what is damaged and was asked for in part is fetched anew for whoever is next', async (t) => {
  const scene = await holdImage(t);
  const layer = scene.image.layer(0);
  const strike = async (): Promise<void> => injure(scene.mirror.storePath, layer, 'flipped');
  const mirror = await makeAnew(t, scene, strike);
  const { blob } = through(mirror);
  const part = await blob(layer, { range: 'bytes=10-19' });
  t.is(part.headers['cache-control'], 'no-store');
  await mirror.idle();
  const whole = await blob(layer);
  t.true(whole.body.equals(layer.bytes));
  t.is(whole.headers['cache-status'], MISS);
});

for (const range of ['', 'bytes=0-']) {
  test(`all of what is damaged never completes, also as ${range || 'no range'}`, async (t) => {
    const scene = await holdImage(t);
    const layer = scene.image.layer(0);
    const strike = async (): Promise<void> => injure(scene.mirror.storePath, layer, 'flipped');
    const mirror = await makeAnew(t, scene, strike);
    const { blob } = through(mirror);
    await t.throwsAsync(blob(layer, range === '' ? {} : { range }), { instanceOf: TruncatedError });
    t.true((await blob(layer)).body.equals(layer.bytes));
  });
}
