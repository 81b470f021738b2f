import test from 'ava';
import type { ClientAnswer } from '../helpers/client.ts';
import { MINUTE } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { get } from '../helpers/client.ts';
import {
  REPOSITORY,
  UPSTREAM,
  refusalOf,
  staleWarning,
  startScene,
  told,
} from '../helpers/scene.ts';

const ASKED = 'GET /v2/_catalog?n=1000';
const always = { times: Infinity };

function repositoriesOf(answer: ClientAnswer): unknown {
  return JSON.parse(answer.body.toString());
}

test('the catalog is that of the upstream, in byte order, and remembered for the ttl', async (t) => {
  const { registry, ask, clock } = await startScene(t, { tags: { ttlMs: MINUTE } });
  for (const name of ['team/b', 'team/a', 'a']) {
    registry.addImage(name, 'latest', buildImage({ seed: name, layers: [1] }));
  }
  const all = { repositories: ['a', REPOSITORY, 'team/a', 'team/b'] };
  const answer = await ask('/v2/_catalog');
  t.is(answer.headers['content-type'], 'application/json');
  t.is(answer.headers['oci-namespace'], UPSTREAM);
  t.deepEqual(told(answer), { status: 200, cache: 'entrepot; fwd=miss' });
  t.deepEqual(repositoriesOf(answer), all);
  t.deepEqual(repositoriesOf(await ask(`/v2/_catalog?ns=${UPSTREAM}`)), all);
  t.deepEqual(repositoriesOf(await ask(`/${UPSTREAM}/v2/_catalog`)), all);
  t.deepEqual(registry.conversation(), [ASKED]);
  clock.advance(MINUTE);
  await ask('/v2/_catalog');
  t.deepEqual(registry.conversation(), [ASKED, ASKED]);
});

test('the catalog comes in pages whose links lead through all of it', async (t) => {
  const { registry, ask } = await startScene(t, { registry: { pageSize: 2, links: 'internal' } });
  for (const name of ['a', 'b', 'c', 'd']) {
    registry.addImage(name, 'latest', buildImage({ seed: name, layers: [1] }));
  }
  const seen: unknown[] = [];
  let path: string | undefined = `/v2/_catalog?n=2&ns=${UPSTREAM}`;
  while (path !== undefined) {
    const answer: ClientAnswer = await ask(path);
    seen.push((repositoriesOf(answer) as { repositories: unknown }).repositories);
    path = /^<([^>]+)>; rel="next"$/.exec(String(answer.headers.link ?? ''))?.[1];
    if (path !== undefined) t.true(path.includes(`ns=${UPSTREAM}`));
  }
  t.deepEqual(seen, [['a', 'b'], ['c', 'd'], [REPOSITORY]]);
});

test('what the mirror may not serve is not in its catalog', async (t) => {
  const { registry, ask } = await startScene(t, {
    upstream: { allow: ['library/**', 'team/**'], deny: ['team/secret'] },
  });
  for (const name of ['team/open', 'team/secret', 'other/app']) {
    registry.addImage(name, 'latest', buildImage({ seed: name, layers: [1] }));
  }
  t.deepEqual(repositoriesOf(await ask('/v2/_catalog')), {
    repositories: [REPOSITORY, 'team/open'],
  });
});

for (const [status, what] of [
  [401, 'keeps it to itself'],
  [403, 'denies it'],
  [404, 'has none'],
  [405, 'does not allow it'],
] as const) {
  test(`held repositories stand in where the upstream ${what}`, async (t) => {
    const { registry, ask, manifest } = await startScene(t);
    registry.addImage('other/app', 'latest', buildImage({ seed: 'other', layers: [1] }));
    await manifest('latest');
    await ask('/v2/other/app/manifests/latest');
    registry.status('/v2/_catalog', status, always);
    const answer = await ask('/v2/_catalog');
    t.deepEqual(told(answer), {
      status: 200,
      cache: 'entrepot; hit; detail=stale',
      warning: staleWarning(`${UPSTREAM} does not list its repositories`),
    });
    t.deepEqual(repositoriesOf(answer), { repositories: [REPOSITORY, 'other/app'] });
  });
}

test('while the upstream is down the held repositories stand in, without a copy the fault is told', async (t) => {
  const { registry, ask, manifest } = await startScene(t);
  await registry.refuse();
  t.like(refusalOf(await ask('/v2/_catalog')), { status: 502, code: 'UNAVAILABLE' });
  await registry.accept();
  await manifest('latest');
  await registry.refuse();
  const answer = await ask('/v2/_catalog');
  t.is(answer.headers['cache-status'], 'entrepot; hit; detail=stale');
  t.deepEqual(repositoriesOf(answer), { repositories: [REPOSITORY] });
});

test('offline the catalog is what is held of that upstream', async (t) => {
  const { registry, mirror, ask } = await startScene(t, { leftovers: {} });
  for (const name of ['a', 'a/b', 'a-b', 'z']) {
    registry.addImage(name, 'latest', buildImage({ seed: name, layers: [1] }));
    await ask(`/v2/${name}/manifests/latest`);
  }
  const { storePath } = mirror;
  await mirror.stop();
  const other = await FakeRegistry.start(t);
  const island = await startMirror(t, {
    storePath,
    offline: true,
    upstreams: { [UPSTREAM]: { url: registry.url }, 'other.example': { url: other.url } },
  });
  t.deepEqual(repositoriesOf(await get(`${island.url}/v2/_catalog`)), {
    repositories: ['a', 'a-b', 'a/b', 'z'],
  });
  t.deepEqual(repositoriesOf(await get(`${island.url}/v2/_catalog?ns=other.example`)), {
    repositories: [],
  });
  t.is(other.connections, 0);
});

test('the catalog of an upstream that is not configured is 404, a bad page size 400', async (t) => {
  const { registry, ask } = await startScene(t);
  t.like(refusalOf(await ask('/v2/_catalog?ns=foreign.example')), {
    status: 404,
    code: 'NAME_UNKNOWN',
  });
  t.like(refusalOf(await ask('/v2/_catalog?n=many')), {
    status: 400,
    code: 'PAGINATION_NUMBER_INVALID',
  });
  t.deepEqual(registry.conversation(), []);
});

test('an upstream that refuses the page size is asked without one', async (t) => {
  const { registry, ask } = await startScene(t);
  registry.status(({ path, query }) => path === '/v2/_catalog' && query.has('n'), 400);
  registry.status(({ path, query }) => path.endsWith('/tags/list') && query.has('n'), 400);
  t.deepEqual(repositoriesOf(await ask('/v2/_catalog')), { repositories: [REPOSITORY] });
  t.deepEqual(repositoriesOf(await ask(`/v2/${REPOSITORY}/tags/list`)), {
    name: REPOSITORY,
    tags: ['latest'],
  });
  t.deepEqual(registry.conversation(), [
    ASKED,
    'GET /v2/_catalog',
    `GET /v2/${REPOSITORY}/tags/list?n=1000`,
    `GET /v2/${REPOSITORY}/tags/list`,
  ]);
});
