/** A client that looked at what is held before the upstream has spoken, and sees it after: it asks nothing again. */
import test from 'ava';
import { MINUTE } from '../helpers/clock.ts';
import { REPOSITORY, startScene, told, type Scene } from '../helpers/scene.ts';

const TTL = { ttlMs: 5 * MINUTE };
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;

/** The next look for the tag has what it finds only when another client was answered. */
function delayNextLook({ mirror, manifest }: Scene): void {
  const { catalog } = mirror.server;
  const findTag = catalog.findTag.bind(catalog);
  catalog.findTag = async (...tag) => {
    catalog.findTag = findTag;
    const found = await findTag(...tag);
    await manifest('latest');
    return found;
  };
}

for (const method of ['GET', 'HEAD'] as const) {
  test(`at the end of the ttl the tag is asked for once, also by who looked before: ${method}`, async (t) => {
    const scene = await startScene(t, { tags: TTL });
    const { registry, manifest, clock } = scene;
    await manifest('latest');
    registry.clear();
    clock.advance(TTL.ttlMs);
    delayNextLook(scene);
    const answer = await manifest('latest', { method });
    t.deepEqual(told(answer), { status: 200, cache: 'entrepot; hit', age: '0' });
    t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  });
}

test('a cold tag is asked for once, also by who looked before it came', async (t) => {
  const scene = await startScene(t, { tags: TTL });
  const { registry, manifest, image } = scene;
  delayNextLook(scene);
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP]);
});

test('who wishes to know anew asks, whatever was said meanwhile', async (t) => {
  const scene = await startScene(t, { tags: TTL });
  const { registry, manifest } = scene;
  await manifest('latest');
  registry.clear();
  delayNextLook(scene);
  await manifest('latest', { headers: { 'cache-control': 'no-cache' } });
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});
