import { setTimeout } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { HydrateMode } from '../../src/config/config.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { get } from '../helpers/client.ts';
import { REPOSITORY, startScene, told, UPSTREAM, type Scene } from '../helpers/scene.ts';

const amd64 = buildImage({ seed: 'amd64', layers: [1000] });
const arm64 = buildImage({ seed: 'arm64', layers: [1000] });
const index = buildIndex([
  { image: amd64, platform: { os: 'linux', architecture: 'amd64' } },
  { image: arm64, platform: { os: 'linux', architecture: 'arm64' } },
]);
const HEAD = { method: 'HEAD' };
const head = (reference: string): string => `HEAD /v2/${REPOSITORY}/manifests/${reference}`;
const fetched = (name: string): string => `GET /v2/${REPOSITORY}/manifests/<${name}>`;
const blob = (name: string): string => `GET /v2/${REPOSITORY}/blobs/<${name}>`;
/** All that is asked about what may belong to a manifest. */
const attached = (name: string): string[] => [
  ...['.sig', '.att', '.sbom'].map((suffix) => head(`<sha256-${name}>${suffix}`)),
  `GET /v2/${REPOSITORY}/referrers/<${name}>`,
  head(`<sha256-${name}>`),
];

async function start(t: ExecutionContext, hydrate: HydrateMode = 'blob'): Promise<Scene> {
  const scene = await startScene(t, {
    upstream: { hydrate },
    tags: { ttlMs: 5 * MINUTE },
  });
  scene.registry.addIndex(REPOSITORY, 'many', index, { name: 'many' });
  scene.registry.name(amd64.manifest, 'amd64');
  scene.registry.name(arm64.manifest, 'arm64');
  return scene;
}

/** Resolves when nothing is fetched or due in the background. */
async function settled({ mirror }: Pick<Scene, 'mirror'>): Promise<void> {
  while (mirror.server.hydrations() > 0) await setTimeout(5);
  await mirror.idle();
}

test('a tag that is only polled is answered when the link is gone, its manifest fetched once', async (t) => {
  const scene = await start(t);
  const { registry, manifest, image, clock } = scene;
  await manifest('latest', HEAD);
  await settled(scene);
  t.deepEqual(registry.conversation(), [head('latest'), fetched('app')]);
  for (let poll = 0; poll < 3; poll += 1) {
    clock.advance(MINUTE);
    t.is((await manifest('latest', HEAD)).headers['cache-status'], 'entrepot; hit');
    await settled(scene);
  }
  t.deepEqual(registry.conversation(), [head('latest'), fetched('app')]);
  await registry.refuse();
  clock.advance(HOUR);
  for (const method of ['HEAD', 'GET']) {
    const answer = await manifest('latest', { method });
    t.like(told(answer), { status: 200, cache: 'entrepot; hit; detail=stale' });
    t.is(answer.headers['docker-content-digest'], image.manifest.digest);
  }
});

test('of an index that is only polled the platforms follow that were asked about themselves', async (t) => {
  const scene = await start(t);
  const { registry, manifest } = scene;
  await manifest(amd64.manifest.digest, HEAD);
  await settled(scene);
  t.deepEqual(registry.conversation(), [head('<amd64>')], 'nothing is known to list it');
  await manifest('many', HEAD);
  await settled(scene);
  const first = [head('<amd64>'), head('many'), fetched('many'), fetched('amd64')];
  t.deepEqual(registry.conversation(), first);
  await manifest(arm64.manifest.digest, HEAD);
  await settled(scene);
  t.deepEqual(registry.conversation(), [...first, head('<arm64>'), fetched('arm64')]);
});

test('with head the layers follow, and all that belongs to the image', async (t) => {
  const scene = await start(t, 'head');
  const { registry, manifest } = scene;
  await manifest('latest', HEAD);
  await settled(scene);
  t.deepEqual(
    registry.conversation().toSorted(),
    [
      head('latest'),
      fetched('app'),
      ...attached('app'),
      blob('app.config'),
      blob('app.layer0'),
      blob('app.layer1'),
    ].toSorted(),
  );
});

test('with off nothing is fetched for who polls', async (t) => {
  const scene = await start(t, 'off');
  await scene.manifest('latest', HEAD);
  await settled(scene);
  t.deepEqual(scene.registry.conversation(), [head('latest')]);
});

test('layers do not follow a polled manifest, also not after polls that hit it and a restart', async (t) => {
  const scene = await start(t);
  const { registry, manifest, mirror, clock } = scene;
  await manifest('latest', HEAD);
  await settled(scene);
  clock.advance(2 * MINUTE);
  await manifest('latest', HEAD);
  await settled(scene);
  await mirror.stop();
  const again = await startMirror(t, {
    storePath: mirror.storePath,
    clock,
    upstreams: { [UPSTREAM]: { url: registry.url, hydrate: 'blob', tags: { ttlMs: HOUR } } },
  });
  await again.server.store.care.settled;
  t.is((await get(`${again.url}/v2/${REPOSITORY}/manifests/latest`, HEAD)).status, 200);
  await settled({ mirror: again });
  t.deepEqual(registry.conversation(), [head('latest'), fetched('app')]);
});

test('a client that fetches after its HEAD costs one GET', async (t) => {
  const scene = await startScene(t, {
    upstream: { hydrate: 'blob' },
    timing: { hydrateMs: 1_500 },
  });
  const { registry, manifest, image } = scene;
  await manifest('latest', HEAD);
  await manifest(image.manifest.digest);
  await settled(scene);
  t.deepEqual(
    registry.conversation((request) => request.method === 'GET'),
    [fetched('app')],
  );
});

test('an upstream gives a dozen polled manifests an hour', async (t) => {
  const scene = await start(t);
  const { registry, manifest, clock } = scene;
  for (let tag = 0; tag < 14; tag += 1) {
    registry.addImage(REPOSITORY, `t${tag}`, buildImage({ seed: tag, layers: [1] }));
  }
  const poll = async (): Promise<number> => {
    for (let tag = 0; tag < 14; tag += 1) await manifest(`t${tag}`, HEAD);
    await settled(scene);
    return registry.requests.filter(({ method }) => method === 'GET').length;
  };
  t.is(await poll(), 12);
  clock.advance(59 * MINUTE);
  t.is(await poll(), 12);
  clock.advance(MINUTE);
  t.is(await poll(), 14);
  t.is(registry.requests.filter(({ method }) => method === 'HEAD').length, 14 + 14);
});

test('polled manifests leave the reserve of a quota to clients', async (t) => {
  const scene = await start(t);
  const { registry, manifest, clock } = scene;
  registry.rateLimit({ limit: 100, remaining: 25 });
  await manifest('latest', HEAD);
  await settled(scene);
  t.deepEqual(registry.conversation(), [head('latest')]);
  registry.rateLimit({ limit: 100, remaining: 26 });
  clock.advance(HOUR);
  await manifest('latest', HEAD);
  await settled(scene);
  t.deepEqual(registry.conversation(), [head('latest'), head('latest'), fetched('app')]);
});

test('a digest that is only polled is fetched once, also when it was evicted since', async (t) => {
  const scene = await start(t);
  const { registry, manifest, mirror, clock } = scene;
  await manifest('latest', HEAD);
  await settled(scene);
  await mirror.server.store.care.budget.evict(Infinity);
  for (let shift = 0; shift < 3; shift += 1) {
    clock.advance(7 * HOUR);
    t.is((await manifest('latest', HEAD)).status, 200);
    await settled(scene);
  }
  const asked = head('latest');
  t.deepEqual(registry.conversation(), [asked, fetched('app'), asked, asked, asked]);
  const moved = buildImage({ seed: 'moved', layers: [1] });
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  clock.advance(HOUR);
  await manifest('latest', HEAD);
  await settled(scene);
  t.deepEqual(registry.conversation().slice(-2), [asked, fetched('moved')]);
});
