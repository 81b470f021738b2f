/** Starts on a disk that takes nothing: what is held is served all the same. */
import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { startMirror, type TestMirror } from '../helpers/mirror.ts';
import { storeState, TAKES_NOTHING, timesLogged } from '../faults/store-report.ts';
import { SmallDisk, testDisk } from './small-disk.ts';

const MIB = 1024 * 1024;

interface Scene {
  readonly disk: SmallDisk;
  readonly registry: FakeRegistry;
  readonly held: Image;
  readonly cold: Image;
  readonly start: () => Promise<TestMirror>;
}

/** A disk with a store that holds one of two images, and that nobody has open. */
async function setUp(t: ExecutionContext): Promise<Scene> {
  const disk = await SmallDisk.mount(t, 24 * MIB);
  const registry = await FakeRegistry.start(t);
  const [held, cold] = ['held', 'cold'].map((seed) => buildImage({ seed, layers: [100_000] }));
  registry.addImage('library/app', 'held', held!, { name: 'held' });
  registry.addImage('library/app', 'cold', cold!, { name: 'cold' });
  const start = async (): Promise<TestMirror> =>
    startMirror(t, { storePath: disk.path, upstreams: { 'docker.io': { url: registry.url } } });
  const first = await start();
  await pull(t, first, held!, 'held');
  await first.server.store.catalog.keepReserve();
  await first.stop();
  registry.clear();
  return { disk, registry, held: held!, cold: cold!, start };
}

/** Resolves with how the cache answered for the blobs. */
async function pull(
  t: ExecutionContext,
  mirror: TestMirror,
  image: Image,
  tag: string,
): Promise<(string | undefined)[]> {
  const app = `${mirror.url}/v2/library/app`;
  t.true((await get(`${app}/manifests/${tag}`)).body.equals(image.manifest.bytes));
  const answers = await Promise.all(image.blobs.map(({ digest }) => get(`${app}/blobs/${digest}`)));
  for (const [n, { bytes }] of image.blobs.entries()) t.true(answers[n]!.body.equals(bytes));
  await mirror.idle();
  return [...new Set(answers.map(({ headers }) => headers['cache-status'] as string | undefined))];
}

async function copies(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith('entrepot-catalog-'));
}

testDisk.serial('a start on a full disk uses what was set aside, and serves', async (t) => {
  const { disk, held, cold, start } = await setUp(t);
  await disk.fill();
  const mirror = await start();
  t.deepEqual(await pull(t, mirror, held, 'held'), ['entrepot; hit']);
  await pull(t, mirror, cold, 'cold');
  t.true(timesLogged(mirror, 'the disk is full: what was set aside opens the catalog') >= 1);
  t.false((await readdir(disk.path)).includes('catalog.reserve'));
});

testDisk.serial(
  'on a full disk where nothing was set aside a copy of the catalog serves',
  async (t) => {
    const { disk, held, cold, start } = await setUp(t);
    const first = await start();
    await first.stop();
    await rm(join(disk.path, 'catalog.reserve'), { force: true });
    await disk.fill();
    const before = await copies();
    const mirror = await start();
    t.deepEqual(await pull(t, mirror, held, 'held'), ['entrepot; hit']);
    t.deepEqual(await pull(t, mirror, cold, 'cold'), ['entrepot; fwd=bypass']);
    await mirror.stop();
    t.deepEqual(await copies(), before);
  },
);

testDisk.serial('a store that can only be read serves what it holds, and says so', async (t) => {
  const { disk, registry, held, cold, start } = await setUp(t);
  await disk.setReadOnly();
  const before = await copies();
  const mirror = await start();
  t.is(timesLogged(mirror, TAKES_NOTHING), 1);
  const { state, reason } = await storeState(mirror);
  t.is(state, 'failing');
  t.is(
    reason,
    `${disk.path} cannot be written: what it holds is served, and nothing is added until a start finds it writable`,
  );
  t.deepEqual(await pull(t, mirror, held, 'held'), ['entrepot; hit']);
  t.deepEqual(registry.conversation(), ['HEAD /v2/library/app/manifests/held']);
  t.deepEqual(await pull(t, mirror, cold, 'cold'), ['entrepot; fwd=bypass']);
  t.is((await storeState(mirror)).state, 'failing');
  await mirror.stop();
  t.deepEqual(await copies(), before);

  await disk.setWritable();
  const again = await start();
  t.deepEqual(await storeState(again), { state: 'ok' });
  t.deepEqual(await pull(t, again, cold, 'cold'), ['entrepot; fwd=miss; stored']);
});

/** Starts while the folder for temporary files is this one. */
async function startWith(folder: string, start: Scene['start']): Promise<TestMirror> {
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = folder;
  try {
    return await start();
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  }
}

const OTHER_PLACES: Record<string, (t: ExecutionContext) => Promise<string>> = {
  missing: async () => '/nowhere/at/all',
  'read-only': async (t) => {
    const other = await SmallDisk.mount(t, MIB);
    await other.setReadOnly();
    t.teardown(async () => other.setWritable());
    return dirname(other.path);
  },
  full: async (t) => {
    const other = await SmallDisk.mount(t, MIB);
    await other.fill();
    return dirname(other.path);
  },
};

for (const [state, mount] of Object.entries(OTHER_PLACES)) {
  for (const kind of ['full', 'read-only'] as const) {
    testDisk.serial(
      `a store on a ${kind} disk serves where the folder for temporary files is ${state}`,
      async (t) => {
        const { disk, held, cold, start } = await setUp(t);
        const other = await mount(t);
        await rm(join(disk.path, 'catalog.reserve'), { force: true });
        if (kind === 'full') await disk.fill();
        else await disk.setReadOnly();
        const before = await readdir('/dev/shm');
        const mirror = await startWith(other, start);
        t.deepEqual(await pull(t, mirror, held, 'held'), ['entrepot; hit']);
        t.deepEqual(await pull(t, mirror, cold, 'cold'), ['entrepot; fwd=bypass']);
        await mirror.stop();
        t.deepEqual(await readdir('/dev/shm'), before);
        if (kind === 'read-only') await disk.setWritable();
      },
    );
  }
}

testDisk.serial('of a large catalog no more than a few megabytes are copied', async (t) => {
  const { disk, held, start } = await setUp(t);
  // What was in the log of LevelDB is in its tables afterwards.
  await (await start()).stop();
  const large = join(disk.path, 'catalog', '900000.ldb');
  await writeFile(large, '');
  await truncate(large, 500 * MIB);
  await disk.setReadOnly();
  const mirror = await start();
  const copied = mirror.log.find(({ msg }) => msg === 'a copy of the catalog serves');
  t.is(copied?.['isLinked'], true);
  t.true((copied?.['bytes'] as number) < 5 * MIB);
  t.deepEqual(await pull(t, mirror, held, 'held'), ['entrepot; hit']);
  await mirror.stop();
  await disk.setWritable();
  const again = await start();
  t.deepEqual(await pull(t, again, held, 'held'), ['entrepot; hit']);
});

testDisk.serial(
  'a catalog that is damaged on a disk that can only be read is made anew beside it',
  async (t) => {
    const { disk, held, start } = await setUp(t);
    await writeFile(join(disk.path, 'catalog', 'CURRENT'), 'nonsense\n');
    await disk.setReadOnly();
    const mirror = await start();
    t.is(timesLogged(mirror, 'the catalog was made anew'), 1);
    t.deepEqual(await pull(t, mirror, held, 'held'), ['entrepot; hit']);
    await mirror.stop();
    await disk.setWritable();
  },
);

testDisk.serial('a first start where nothing can be written says why', async (t) => {
  const disk = await SmallDisk.mount(t, 4 * MIB);
  await disk.setReadOnly();
  const registry = await FakeRegistry.start(t);
  const upstreams = { 'docker.io': { url: registry.url } };
  await t.throwsAsync(startMirror(t, { storePath: disk.path, upstreams }), { code: 'EROFS' });
  await disk.setWritable();
});
