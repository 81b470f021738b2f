import { readdir, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { Metrics } from '../../src/observe/metrics.ts';
import { Store } from '../../src/store/store.ts';
import { timesLogged } from '../faults/store-report.ts';
import { HIT, holdImage, through, type HeldImage } from '../faults/held-image.ts';
import { get } from '../helpers/client.ts';
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
];

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
