import test from 'ava';
import { HOUR, SECOND } from '../helpers/clock.ts';
import { buildImage } from '../helpers/image.ts';
import { get } from '../helpers/client.ts';
import { startMirror } from '../helpers/mirror.ts';
import { idle, REPOSITORY, startScene, told, UPSTREAM } from '../helpers/scene.ts';

const TTL = { ttlMs: HOUR, negativeTtlMs: HOUR };
const ANEW = { headers: { 'cache-control': 'max-stale=0, No-Cache' } };
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_MOVED = `GET /v2/${REPOSITORY}/manifests/<moved>`;

for (const method of ['GET', 'HEAD'] as const) {
  test(`${method} with no-cache: a fresh tag is asked about, and what it means now is answered`, async (t) => {
    const { registry, manifest } = await startScene(t, { tags: TTL });
    await manifest('latest');
    const moved = buildImage({ seed: 'moved', layers: [10] });
    registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
    registry.clear();
    t.is(told(await manifest('latest'))['cache'], 'entrepot; hit');
    t.deepEqual(registry.conversation(), []);
    const answer = await manifest('latest', { method, ...ANEW });
    t.is(answer.headers['docker-content-digest'], moved.manifest.digest);
    const fetched = method === 'GET' ? [GET_MOVED] : [];
    t.deepEqual(registry.conversation(), [HEAD_LATEST, ...fetched]);
  });
}

test('no-cache costs one question a tag in ten seconds, whoever wishes it', async (t) => {
  const { registry, manifest, clock } = await startScene(t, { tags: TTL });
  await manifest('latest');
  registry.clear();
  const sources = [];
  for (let round = 0; round < 3; round += 1) {
    sources.push(told(await manifest('latest', ANEW))['cache']);
    clock.advance(4 * SECOND);
  }
  t.deepEqual(sources, ['entrepot; hit; detail=revalidated', 'entrepot; hit', 'entrepot; hit']);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  t.is(told(await manifest('latest', ANEW))['cache'], 'entrepot; hit; detail=revalidated');
  t.deepEqual(registry.conversation(), [HEAD_LATEST, HEAD_LATEST]);
});

test('no-cache finds a tag that was absent a moment ago', async (t) => {
  const { registry, manifest } = await startScene(t, { tags: TTL });
  t.is((await manifest('new')).status, 404);
  const moved = buildImage({ seed: 'moved', layers: [10] });
  registry.addImage(REPOSITORY, 'new', moved, { name: 'moved' });
  t.is((await manifest('new')).status, 404);
  t.is((await manifest('new', ANEW)).status, 200);
  t.is((await manifest('new')).status, 200);
});

test('no-cache asks nothing about a digest, and offline nothing at all', async (t) => {
  const { registry, mirror, manifest, image } = await startScene(t, { tags: TTL });
  await manifest('latest');
  registry.clear();
  t.is(told(await manifest(image.manifest.digest, ANEW))['cache'], 'entrepot; hit');
  t.deepEqual(registry.conversation(), []);
  const upstreams = { [UPSTREAM]: { url: registry.url, tags: TTL } };
  await mirror.reload({ upstreams, offline: true });
  t.is(told(await manifest('latest', ANEW))['cache'], 'entrepot; hit');
  t.deepEqual(registry.conversation(), []);
});

test('no-cache while the upstream is away: what is held, marked stale', async (t) => {
  const { registry, manifest } = await startScene(t, { tags: TTL });
  await manifest('latest');
  await registry.refuse();
  const { status, cache, warning } = told(await manifest('latest', ANEW));
  t.deepEqual({ status, cache }, { status: 200, cache: 'entrepot; hit; detail=stale' });
  t.regex(String(warning), /^299 - /);
});

test('a mirror passes the wish on to the mirror before it, and nothing else', async (t) => {
  const { registry, mirror: parent, manifest, clock } = await startScene(t, { tags: TTL });
  const child = await startMirror(t, {
    clock,
    upstreams: {
      [UPSTREAM]: { url: parent.url, prefix: UPSTREAM, tags: TTL },
    },
  });
  const ask = async (options = {}) =>
    get(`${child.url}/v2/${REPOSITORY}/manifests/latest`, options);
  await ask();
  await manifest('latest');
  const moved = buildImage({ seed: 'moved', layers: [10] });
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  registry.clear();
  t.is((await ask(ANEW)).headers['docker-content-digest'], moved.manifest.digest);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_MOVED]);
  t.deepEqual(
    registry.requests.map(({ headers }) => headers['cache-control']),
    ['no-cache', undefined],
  );
  await idle(child);
});
