import test from 'ava';
import { get } from '../helpers/client.ts';
import { MINUTE, SECOND } from '../helpers/clock.ts';
import { startMirror } from '../helpers/mirror.ts';
import { REPOSITORY, staleWarning, startScene, told, UPSTREAM } from '../helpers/scene.ts';

const GET_LATEST = `GET /v2/${REPOSITORY}/manifests/latest`;
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;
const PATH = `/v2/${REPOSITORY}/manifests/latest`;
const TAGS = { negativeTtlMs: 30 * SECOND };
const WARNING = staleWarning(`${UPSTREAM} has this tag no more; a pin keeps it here`);
const KEPT = { status: 200, cache: 'entrepot; hit; detail=stale', age: '0', warning: WARNING };

for (const pin of [`${UPSTREAM}/${REPOSITORY}:latest`, `${UPSTREAM}/library/*`]) {
  test(`a removed tag that the pin ${pin} keeps is served, and asked for once in the negative ttl`, async (t) => {
    const { registry, manifest, image, clock } = await startScene(t, {
      store: { pins: [pin] },
      tags: TAGS,
    });
    await manifest('latest');
    registry.untag(REPOSITORY, 'latest');
    registry.clear();
    for (const method of ['HEAD', 'GET'] as const) {
      const answer = await manifest('latest', { method });
      t.deepEqual(told(answer), KEPT);
      t.is(answer.headers['docker-content-digest'], image.manifest.digest);
      t.deepEqual(answer.body, method === 'GET' ? image.manifest.bytes : Buffer.alloc(0));
    }
    t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_LATEST]);
    clock.advance(30 * SECOND);
    t.deepEqual(told(await manifest('latest')), { ...KEPT, age: '30' });
    const asked = [HEAD_LATEST, GET_LATEST];
    t.deepEqual(registry.conversation(), [...asked, ...asked]);
  });
}

test('a removed tag that a pin keeps is served after a restart, offline and through a child', async (t) => {
  const { registry, manifest, image, clock, mirror } = await startScene(t, {
    store: { pins: [`${UPSTREAM}/${REPOSITORY}:latest`] },
    tags: TAGS,
  });
  const child = await startMirror(t, {
    clock,
    upstreams: { [UPSTREAM]: { url: mirror.url, namespace: UPSTREAM } },
  });
  await manifest('latest');
  registry.untag(REPOSITORY, 'latest');
  for (const method of ['HEAD', 'GET'] as const) {
    const { warning, ...answer } = told(await get(`${child.url}${PATH}`, { method }));
    t.is(answer['status'], 200);
    t.regex(String(warning), /has this tag no more; a pin keeps it here/);
  }
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP, HEAD_LATEST, GET_LATEST]);
  await mirror.stop();
  for (const offline of [false, true]) {
    const again = await startMirror(t, {
      clock,
      storePath: mirror.storePath,
      store: { pins: [`${UPSTREAM}/${REPOSITORY}:latest`] },
      upstreams: { [UPSTREAM]: { url: registry.url, tags: TAGS } },
      offline,
    });
    for (const method of ['HEAD', 'GET'] as const) {
      const answer = await get(`${again.url}${PATH}`, { method });
      t.deepEqual(told(answer), KEPT);
      t.deepEqual(answer.body, method === 'GET' ? image.manifest.bytes : Buffer.alloc(0));
    }
    await again.stop();
  }
  const gone = [HEAD_LATEST, GET_LATEST];
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP, ...gone, ...gone]);
});

test('a removed tag that a pin keeps is served while the upstream is down, whatever its age', async (t) => {
  const { registry, manifest, clock } = await startScene(t, {
    store: { pins: [`${UPSTREAM}/${REPOSITORY}:latest`] },
    tags: { ...TAGS, staleIfErrorMs: MINUTE },
  });
  await manifest('latest');
  registry.untag(REPOSITORY, 'latest');
  clock.advance(2 * MINUTE);
  t.deepEqual(told(await manifest('latest')), { ...KEPT, age: '120' });
  await registry.refuse();
  clock.advance(MINUTE);
  t.deepEqual(told(await manifest('latest')), { ...KEPT, age: '180' });
});

test('a removed tag that sync keeps is served, and not once it lets go', async (t) => {
  const { registry, manifest, image, mirror } = await startScene(t);
  await manifest('latest');
  registry.untag(REPOSITORY, 'latest');
  t.is((await manifest('latest')).status, 404);
  // As a run does for what its rules keep.
  const pin = { origin: 'sync', image: `${UPSTREAM}/${REPOSITORY}@${image.manifest.digest}` };
  const { pins } = mirror.server.store.care;
  await pins.add({ ...pin, since: 0 });
  t.deepEqual(told(await manifest('latest')), KEPT);
  await registry.refuse();
  t.deepEqual(told(await manifest('latest')), KEPT);
  await pins.remove(pin);
  t.is((await manifest('latest')).status, 404);
});

test('a kept tag that comes back upstream is a tag like any other', async (t) => {
  const { registry, manifest, image } = await startScene(t, {
    store: { pins: [`${UPSTREAM}/${REPOSITORY}:latest`] },
  });
  await manifest('latest');
  registry.untag(REPOSITORY, 'latest');
  t.deepEqual(told(await manifest('latest')), KEPT);
  registry.tag(REPOSITORY, 'latest', image.manifest);
  t.like(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; hit; detail=revalidated',
    warning: undefined,
  });
});
