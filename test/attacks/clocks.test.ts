/** A wall clock that is set by days, either way, and a start without the time: nothing is stuck, nothing forgiven. */
import test, { type ExecutionContext } from 'ava';
import { Clock, HOUR, MINUTE, SECOND } from '../helpers/clock.ts';
import { buildImage } from '../helpers/image.ts';
import { get } from '../helpers/client.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { idle, REPOSITORY, startScene, told, UPSTREAM, type Scene } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const DAY = 24 * HOUR;
const TTL = { ttlMs: HOUR, negativeTtlMs: 30 * SECOND, staleIfErrorMs: DAY };
const LATEST = `/v2/${REPOSITORY}/manifests/latest`;
const QUESTION = `HEAD ${LATEST}`;
const JUMPS = {
  'back by days': 3 * DAY,
  'forward by days': -3 * DAY,
  'to 1970': Date.UTC(2030, 0, 1),
};

const HIT = 'entrepot; hit';
const STALE = 'entrepot; hit; detail=stale';

async function cacheOf({ ask }: Pick<Scene, 'ask'>, path = LATEST): Promise<string | undefined> {
  const { status, headers } = await ask(path);
  return status === 200 ? String(headers['cache-status']) : `${status}`;
}

for (const [jump, ms] of Object.entries(JUMPS)) {
  test(`a clock that is set ${jump}: a tag is asked for once more, and is fresh again`, async (t) => {
    const scene = await startScene(t, { tags: TTL });
    const { registry, clock } = scene;
    await cacheOf(scene);
    registry.clear();
    clock.setBack(ms);
    await cacheOf(scene);
    clock.advance(HOUR - 1);
    t.is(await cacheOf(scene), HIT);
    t.deepEqual(registry.conversation(), [QUESTION]);
    clock.advance(1);
    await cacheOf(scene);
    t.deepEqual(registry.conversation(), [QUESTION, QUESTION]);
  });

  test(`a clock that is set ${jump}: what is held is served while the upstream is down`, async (t) => {
    const scene = await startScene(t, { tags: TTL });
    const { registry, clock } = scene;
    await cacheOf(scene);
    clock.advance(2 * HOUR);
    clock.setBack(ms);
    await registry.refuse();
    t.is(await cacheOf(scene), STALE);
    // By what truly passed it is too old now.
    clock.advance(DAY);
    t.is(await cacheOf(scene), '502');
  });

  test(`a clock that is set ${jump}: an absence counts for its ttl, no longer and no shorter`, async (t) => {
    const scene = await startScene(t, { tags: TTL });
    const { registry, clock, image } = scene;
    const absent = [`/v2/${REPOSITORY}/manifests/soon`, '/v2/library/soon/tags/list'];
    for (const path of absent) t.is(await cacheOf(scene, path), '404');
    registry.tag(REPOSITORY, 'soon', image.manifest);
    registry.addImage('library/soon', 'latest', image);
    clock.setBack(ms);
    clock.advance(30 * SECOND - 1);
    for (const path of absent) t.is(await cacheOf(scene, path), '404');
    clock.advance(1);
    for (const path of absent) t.not(await cacheOf(scene, path), '404');
  });

  test(`a clock that is set ${jump}: a list is believed for its ttl`, async (t) => {
    const scene = await startScene(t, { tags: TTL });
    const { registry, clock } = scene;
    const list = `/v2/${REPOSITORY}/tags/list`;
    await cacheOf(scene, list);
    registry.clear();
    clock.setBack(ms);
    clock.advance(HOUR - 1);
    t.is(await cacheOf(scene, list), HIT);
    clock.advance(1);
    await cacheOf(scene, list);
    t.is(registry.conversation().length, 1);
  });

  test(`a clock that is set ${jump}: what a HEAD announced is asked for once more`, async (t) => {
    const { registry, clock, manifest } = await startScene(t, { tags: TTL });
    const head = async () => manifest('latest', { method: 'HEAD' });
    await head();
    clock.setBack(ms);
    for (let turn = 0; turn < 3; turn += 1) t.is((await head()).status, 200);
    t.deepEqual(registry.conversation(), [QUESTION, QUESTION]);
  });

  test(`a clock that is set ${jump}: an image is completed, and no more manifests are fetched for pollers`, async (t) => {
    const scene = await startScene(t, { upstream: { hydrate: 'blob' }, tags: TTL });
    const { registry, clock, image, manifest, blob, mirror } = scene;
    await manifest('latest');
    clock.setBack(ms);
    await blob(image.config);
    await until('hydration', () => mirror.server.hydrations() === 0);
    await idle(mirror);
    for (const each of image.blobs) t.is((await blob(each)).headers['cache-status'], HIT);
    const poll = async (): Promise<number> => {
      for (let tag = 0; tag < 14; tag += 1) {
        const polled = buildImage({ seed: `polled ${tag}`, layers: [1] });
        registry.addImage(REPOSITORY, `t${tag}`, polled, { name: `polled${tag}` });
        await manifest(`t${tag}`, { method: 'HEAD' });
      }
      await until('polled', () => mirror.server.hydrations() === 0);
      return registry
        .conversation()
        .filter((line) => line.includes('GET') && line.includes('polled')).length;
    };
    t.is(await poll(), 12);
    clock.setBack(-ms);
    clock.advance(2 * MINUTE);
    t.is(await poll(), 12);
  });
}

test('a clock that is set back by less than what passed makes no tag fresh again', async (t) => {
  const scene = await startScene(t, { tags: TTL });
  const { registry, clock } = scene;
  await cacheOf(scene);
  registry.clear();
  clock.advance(2 * HOUR);
  clock.setBack(119 * MINUTE);
  await cacheOf(scene);
  t.deepEqual(registry.conversation(), [QUESTION]);
});

interface Site {
  readonly scene: Scene;
  readonly restart: (clock: Clock) => Promise<TestMirror>;
}

/** Stops the mirror of a scene that holds `latest`, and starts it with another clock. */
async function startSite(t: ExecutionContext, clock: Clock): Promise<Site> {
  const storePath = await createTempFolder(t);
  const scene = await startScene(t, { storePath, tags: TTL, clock });
  await scene.manifest('latest');
  const restart = async (another: Clock): Promise<TestMirror> => {
    await scene.mirror.stop();
    return startMirror(t, {
      storePath,
      clock: another,
      upstreams: { [UPSTREAM]: { url: scene.registry.url, tags: TTL } },
    });
  };
  return { scene, restart };
}

function clockAt(ms: number): Clock {
  const clock = new Clock();
  clock.setBack(clock.wall() - ms);
  return clock;
}

const NOW = Date.UTC(2030, 0, 1);
const STARTS: [claim: string, before: number, after: number][] = [
  ['a clock that ran ahead by days', NOW + 3 * DAY, NOW],
  ['a machine that knows no time since its start', NOW, 5_000],
  ['a machine that knew no time', 5_000, NOW],
];

for (const [claim, before, after] of STARTS) {
  test(`after a restart what was stamped before ${claim} is asked for once more, and served without upstream`, async (t) => {
    const { scene, restart } = await startSite(t, clockAt(before));
    const clock = clockAt(after);
    const mirror = await restart(clock);
    const { registry } = scene;
    registry.clear();
    await registry.refuse();
    t.like(told(await get(`${mirror.url}${LATEST}`)), { status: 200, cache: STALE });
    await registry.accept();
    clock.advance(HOUR);
    const isConfirmed = async (): Promise<boolean> =>
      (await get(`${mirror.url}${LATEST}`)).headers['warning'] === undefined;
    await until('the upstream is found to be up', isConfirmed);
    await idle(mirror);
    registry.clear();
    clock.advance(HOUR - 1);
    t.is((await get(`${mirror.url}${LATEST}`)).headers['cache-status'], HIT);
    t.deepEqual(registry.conversation(), []);
  });
}

test('a clock that is set forward after the start does not make what earlier runs held too old', async (t) => {
  const { scene, restart } = await startSite(t, clockAt(NOW));
  const clock = clockAt(NOW + HOUR);
  const mirror = await restart(clock);
  await scene.registry.refuse();
  clock.setBack(-30 * DAY);
  t.like(told(await get(`${mirror.url}${LATEST}`)), { status: 200, cache: STALE });
  clock.advance(DAY);
  t.is((await get(`${mirror.url}${LATEST}`)).status, 502);
});
