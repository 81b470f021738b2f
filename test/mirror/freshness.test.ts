import test from 'ava';
import { arrivals } from '../helpers/arrivals.ts';
import { get } from '../helpers/client.ts';
import { HOUR, MINUTE, SECOND } from '../helpers/clock.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import {
  idle,
  refusalOf,
  REPOSITORY,
  staleWarning,
  startScene,
  told,
  UPSTREAM,
} from '../helpers/scene.ts';

const TTL = { ttlMs: 5 * MINUTE };
const COLD = { status: 200, cache: 'entrepot; fwd=miss; stored', age: '0' };

const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_LATEST = `GET /v2/${REPOSITORY}/manifests/latest`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;
const GET_MOVED = `GET /v2/${REPOSITORY}/manifests/<moved>`;

function buildMoved() {
  return buildImage({ seed: 'moved', layers: [10] });
}

// The first pull and the next

test('a cold tag costs one HEAD and one GET by digest', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  const answer = await manifest('latest');
  t.deepEqual(told(answer), COLD);
  t.deepEqual(answer.body, image.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP]);
});

test('fifty clients that want one cold tag at once cost one HEAD and one GET', async (t) => {
  const { registry, mirror, manifest, image } = await startScene(t, { tags: TTL });
  const head = registry.hold('latest', { before: 'headers' });
  const fifty = arrivals(mirror.url, 50);
  const answering = Promise.all(Array.from({ length: 50 }, async () => manifest('latest')));
  await Promise.all([fifty, head.arrived()]);
  head.open();
  for (const { status, body } of await answering) {
    t.is(status, 200);
    t.deepEqual(body, image.manifest.bytes);
  }
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP]);
});

test('tags that mean one manifest share its GET', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  registry.tag(REPOSITORY, 'stable', image.manifest);
  const gate = registry.hold(image.manifest, { method: 'GET', before: 'headers' });
  const answering = Promise.all([
    manifest('latest'),
    manifest('stable'),
    manifest(image.manifest.digest),
  ]);
  await gate.arrived();
  gate.open();
  for (const { body } of await answering) t.deepEqual(body, image.manifest.bytes);
  t.is(registry.conversation().filter((line) => line === GET_APP).length, 1);
});

test('pulling an image again costs one HEAD and no blob', async (t) => {
  const { registry, mirror, manifest, blob, image } = await startScene(t);
  await manifest('latest');
  for (const stored of image.blobs) await blob(stored);
  await idle(mirror);
  registry.clear();
  t.deepEqual(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; hit; detail=revalidated',
    age: '0',
  });
  t.deepEqual(told(await manifest(image.manifest.digest)), {
    status: 200,
    cache: 'entrepot; hit',
    age: '0',
  });
  for (const stored of image.blobs) t.deepEqual((await blob(stored)).body, stored.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('a digest is never asked for again', async (t) => {
  const { registry, manifest, image, clock } = await startScene(t);
  await manifest(image.manifest.digest);
  clock.advance(1000 * HOUR);
  for (const method of ['GET', 'HEAD']) {
    t.deepEqual(told(await manifest(image.manifest.digest, { method })), {
      status: 200,
      cache: 'entrepot; hit',
      age: '3600000',
    });
  }
  t.deepEqual(registry.conversation(), [GET_APP]);
});

test('an index pulled by tag brings its own manifest only', async (t) => {
  const { registry, ask } = await startScene(t);
  const index = buildIndex([
    {
      image: buildImage({ seed: 'a', layers: [1] }),
      platform: { os: 'linux', architecture: 'amd64' },
    },
    {
      image: buildImage({ seed: 'b', layers: [1] }),
      platform: { os: 'linux', architecture: 'arm64' },
    },
  ]);
  registry.addIndex('library/many', 'latest', index, { name: 'many' });
  const answer = await ask('/v2/library/many/manifests/latest');
  t.deepEqual(answer.body, index.manifest.bytes);
  t.is(answer.headers['content-type'], index.manifest.mediaType);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/library/many/manifests/latest',
    'GET /v2/library/many/manifests/<many>',
  ]);
});

// The time to live of a tag

test('within its ttl a tag is answered without a question, to its last millisecond', async (t) => {
  const { registry, manifest, clock } = await startScene(t, { tags: TTL });
  await manifest('latest');
  registry.clear();
  clock.advance(TTL.ttlMs - 1);
  for (const method of ['GET', 'HEAD']) {
    t.deepEqual(told(await manifest('latest', { method })), {
      status: 200,
      cache: 'entrepot; hit',
      age: '299',
    });
  }
  t.deepEqual(registry.conversation(), []);
});

test('at the end of its ttl a tag is confirmed by one HEAD, and lives anew', async (t) => {
  const { registry, manifest, clock } = await startScene(t, { tags: TTL });
  await manifest('latest');
  registry.clear();
  clock.advance(TTL.ttlMs);
  t.deepEqual(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; hit; detail=revalidated',
    age: '0',
  });
  clock.advance(TTL.ttlMs - 1);
  t.deepEqual(told(await manifest('latest')), { status: 200, cache: 'entrepot; hit', age: '299' });
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('a HEAD confirms a held tag for the GETs after it', async (t) => {
  const { registry, manifest, clock } = await startScene(t, { tags: TTL });
  await manifest('latest');
  registry.clear();
  clock.advance(2 * TTL.ttlMs);
  t.is((await manifest('latest', { method: 'HEAD' })).status, 200);
  t.deepEqual(told(await manifest('latest')), { status: 200, cache: 'entrepot; hit', age: '0' });
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('a clock that went backwards makes no tag fresh', async (t) => {
  const { registry, manifest, clock } = await startScene(t, { tags: TTL });
  await manifest('latest');
  registry.clear();
  clock.setBack(HOUR);
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=revalidated');
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('what a tag means outlives the process', async (t) => {
  const { registry, manifest, mirror, clock, image } = await startScene(t, { tags: TTL });
  await manifest('latest');
  await mirror.stop();
  registry.clear();
  await registry.refuse();
  clock.advance(HOUR);
  const again = await startMirror(t, {
    storePath: mirror.storePath,
    clock,
    upstreams: { [UPSTREAM]: { url: registry.url } },
  });
  const answer = await get(`${again.url}/v2/${REPOSITORY}/manifests/latest`);
  t.like(told(answer), { status: 200, cache: 'entrepot; hit; detail=stale', age: '3600' });
  t.deepEqual(answer.body, image.manifest.bytes);
});

// A tag that moves

test('a moved tag costs one HEAD and one GET by digest, and only once', async (t) => {
  const { registry, manifest, clock } = await startScene(t, { tags: TTL });
  await manifest('latest');
  const moved = buildMoved();
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  registry.clear();
  clock.advance(TTL.ttlMs);
  const answer = await manifest('latest');
  t.deepEqual(told(answer), COLD);
  t.deepEqual(answer.body, moved.manifest.bytes);
  t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_MOVED]);
});

test('a tag that moves back to a held manifest costs one HEAD', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  await manifest('latest');
  const moved = buildMoved();
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  await manifest('latest');
  registry.tag(REPOSITORY, 'latest', image.manifest);
  registry.clear();
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  await registry.refuse();
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes, 'and that is what is kept');
});

test('what a tag meant before stays held by its digest', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  await manifest('latest');
  registry.addImage(REPOSITORY, 'latest', buildMoved());
  await manifest('latest');
  await registry.refuse();
  t.deepEqual((await manifest(image.manifest.digest)).body, image.manifest.bytes);
});

// HEAD first, as most clients do

test('HEAD of a tag that is not held is a HEAD upstream and nothing more', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  const answer = await manifest('latest', { method: 'HEAD' });
  t.is(answer.status, 200);
  t.is(answer.headers['cache-status'], 'entrepot; fwd=miss');
  t.is(answer.headers['docker-content-digest'], image.manifest.digest);
  t.is(answer.headers['content-length'], String(image.manifest.size));
  t.is(answer.headers['content-type'], image.manifest.mediaType);
  t.is(answer.body.length, 0);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('a poller that asks by HEAD for what is not held is answered within the ttl without a question', async (t) => {
  const { registry, manifest, image, clock } = await startScene(t, { tags: TTL });
  const first = await manifest('latest', { method: 'HEAD' });
  clock.advance(TTL.ttlMs - 1);
  for (let poll = 0; poll < 20; poll += 1) {
    const answer = await manifest('latest', { method: 'HEAD' });
    t.deepEqual(told(answer), { status: 200, cache: 'entrepot; hit', age: '299' });
    for (const name of ['docker-content-digest', 'content-length', 'content-type']) {
      t.is(answer.headers[name], first.headers[name]);
    }
  }
  t.is(first.headers['docker-content-digest'], image.manifest.digest);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  clock.advance(1);
  t.is(
    (await manifest('latest', { method: 'HEAD' })).headers['cache-status'],
    'entrepot; fwd=miss',
  );
  t.deepEqual(registry.conversation(), [HEAD_LATEST, HEAD_LATEST]);
});

test('a poller hears of a tag that moved to what is not held once in each ttl', async (t) => {
  const { registry, manifest, clock } = await startScene(t, { tags: TTL });
  await manifest('latest');
  const moved = buildMoved();
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  clock.advance(TTL.ttlMs);
  registry.clear();
  for (let poll = 0; poll < 3; poll += 1) {
    const answer = await manifest('latest', { method: 'HEAD' });
    t.is(answer.headers['docker-content-digest'], moved.manifest.digest);
    t.is(answer.headers['content-length'], String(moved.manifest.size));
  }
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_MOVED]);
});

for (const ttlMs of [TTL.ttlMs, 0]) {
  test(`a tag asked for by HEAD is held once its manifest was pulled by digest, with a ttl of ${ttlMs} ms`, async (t) => {
    const { registry, manifest, image } = await startScene(t, { tags: { ttlMs } });
    await manifest('latest', { method: 'HEAD' });
    await manifest(image.manifest.digest);
    t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP]);
    await registry.refuse();
    const answer = await manifest('latest');
    t.is(answer.status, 200);
    t.deepEqual(answer.body, image.manifest.bytes);
  });
}

test('a GET right after the HEAD of a tag does not ask what the tag means again', async (t) => {
  const { registry, manifest } = await startScene(t, { tags: TTL });
  await manifest('latest', { method: 'HEAD' });
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP]);
});

test('the ttl of a tag counts from the HEAD that confirmed it, not from the GET of its manifest', async (t) => {
  const { registry, manifest, image, clock } = await startScene(t, { tags: TTL });
  await manifest('latest', { method: 'HEAD' });
  clock.advance(4 * MINUTE);
  await manifest(image.manifest.digest);
  clock.advance(2 * MINUTE);
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=revalidated');
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP, HEAD_LATEST]);
});

test('a tag that moved between HEAD and the GET by digest is not pinned to the old manifest', async (t) => {
  const { registry, manifest, image, clock } = await startScene(t, { tags: TTL });
  await manifest('latest', { method: 'HEAD' });
  const moved = buildMoved();
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  t.deepEqual((await manifest(image.manifest.digest)).body, image.manifest.bytes);
  clock.advance(TTL.ttlMs);
  t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP, HEAD_LATEST, GET_MOVED]);
});

// Registries whose HEAD says less

test('an upstream whose HEAD names no digest is asked by GET, for GET and for HEAD', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  registry.omitHeaders('latest', ['Docker-Content-Digest'], { times: Infinity });
  for (const method of ['GET', 'HEAD']) {
    const answer = await manifest('latest', { method });
    t.is(answer.status, 200);
    t.is(answer.headers['docker-content-digest'], image.manifest.digest);
    t.is(answer.headers['content-length'], String(image.manifest.size));
  }
  const line = `GET /v2/${REPOSITORY}/manifests/latest`;
  t.deepEqual(registry.conversation(), [HEAD_LATEST, line, HEAD_LATEST, line]);
});

for (const name of ['Content-Length', 'Content-Type']) {
  test(`HEAD of a tag is complete although the upstream's HEAD has no ${name}`, async (t) => {
    const { registry, manifest, image } = await startScene(t);
    registry.omitHeaders('latest', [name], { method: 'HEAD' });
    const answer = await manifest('latest', { method: 'HEAD' });
    t.is(answer.status, 200);
    t.is(answer.headers['docker-content-digest'], image.manifest.digest);
    t.is(answer.headers['content-length'], String(image.manifest.size));
    t.is(answer.headers['content-type'], image.manifest.mediaType);
    t.is(registry.conversation().length, 2);
  });
}

test('an upstream that refuses HEAD with 405 is asked by GET', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  registry.status('latest', 405, { method: 'HEAD', times: Infinity });
  const answer = await manifest('latest');
  t.is(answer.status, 200);
  t.deepEqual(answer.body, image.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, `GET /v2/${REPOSITORY}/manifests/latest`]);
});

// Immutable tags

test('an immutable tag is asked for once, however old', async (t) => {
  const { registry, manifest, image, clock } = await startScene(t, {
    tags: { immutable: ['*:v[0-9]*'] },
  });
  registry.tag(REPOSITORY, 'v1.2', image.manifest);
  await manifest('v1.2');
  clock.advance(1000 * HOUR);
  t.deepEqual(told(await manifest('v1.2')), {
    status: 200,
    cache: 'entrepot; hit',
    age: '3600000',
  });
  t.deepEqual(registry.conversation(), [`HEAD /v2/${REPOSITORY}/manifests/v1.2`, GET_APP]);
});

const PATTERNS: [pattern: string, repository: string, tag: string, isImmutable: boolean][] = [
  ['*:v[0-9]*', 'library/app', 'v1', true],
  ['*:v[0-9]*', 'library/app', 'vim', false],
  ['*:v[0-9]*', 'a/b/c/d', 'v1', true],
  ['library/*:*', 'library/app', 'latest', true],
  ['library/*:*', 'team/app', 'latest', false],
  ['library/*:*', 'library/deep/app', 'latest', false],
  ['library/**:*', 'library/deep/app', 'latest', true],
  ['library/app:1.0', 'library/app', '1.0', true],
  ['library/app:1.0', 'library/app', '1.0.1', false],
  ['*:sha256-*', 'library/app', 'sha256-abc', true],
];

for (const [pattern, repository, tag, isImmutable] of PATTERNS) {
  test(`${pattern} ${isImmutable ? 'makes' : 'does not make'} ${repository}:${tag} immutable`, async (t) => {
    const { registry, ask, image } = await startScene(t, { tags: { immutable: [pattern] } });
    registry.addImage(repository, tag, image, { name: 'app' });
    const path = `/v2/${repository}/manifests/${tag}`;
    await ask(path);
    registry.clear();
    t.is((await ask(path)).status, 200);
    t.deepEqual(registry.conversation(), isImmutable ? [] : [`HEAD ${path}`]);
  });
}

// Answers that are already old

test('while it may be revalidated behind the client, an old tag is answered at once', async (t) => {
  const { registry, manifest, mirror, image, clock } = await startScene(t, {
    tags: { ...TTL, staleWhileRevalidateMs: HOUR },
  });
  await manifest('latest');
  const moved = buildMoved();
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  registry.clear();
  clock.advance(TTL.ttlMs + HOUR - 1);
  const gate = registry.hold('latest', { before: 'headers' });
  const old = await manifest('latest');
  await gate.arrived();
  t.deepEqual(told(old), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '3899',
    warning: staleWarning('being revalidated'),
  });
  t.deepEqual(old.body, image.manifest.bytes);
  gate.open();
  await idle(mirror);
  t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_MOVED]);
});

test('past that time the client waits for the upstream again', async (t) => {
  const { registry, manifest, clock } = await startScene(t, {
    tags: { ...TTL, staleWhileRevalidateMs: HOUR },
  });
  await manifest('latest');
  registry.clear();
  clock.advance(TTL.ttlMs + HOUR);
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=revalidated');
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('an upstream that fails behind the client harms nobody', async (t) => {
  const { registry, manifest, mirror, clock } = await startScene(t, {
    tags: { ttlMs: MINUTE, staleWhileRevalidateMs: HOUR },
  });
  await manifest('latest');
  await registry.refuse();
  clock.advance(2 * MINUTE);
  t.is((await manifest('latest')).status, 200);
  await idle(mirror);
  t.is((await manifest('latest')).status, 200);
});

test('a copy is served while the upstream fails up to its age limit, and refused past it', async (t) => {
  const { registry, manifest, clock } = await startScene(t, {
    tags: { ttlMs: MINUTE, staleIfErrorMs: HOUR },
  });
  await manifest('latest');
  await registry.refuse();
  clock.advance(HOUR);
  t.like(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '3600',
  });
  clock.advance(1);
  for (const method of ['HEAD', 'GET']) {
    const answer = await manifest('latest', { method });
    t.is(answer.status, 502);
  }
  const { code, message } = refusalOf(await manifest('latest'));
  t.is(code, 'UNAVAILABLE');
  t.is(
    String(message).replace(/, for \d+ s$/, ''),
    `${UPSTREAM}: no connection to ${registry.host} (ECONNREFUSED)`,
  );
});

// Tags that are not there

test('a 404 is asked for once within the negative ttl, and then again', async (t) => {
  const { registry, manifest, clock, image } = await startScene(t, {
    tags: { negativeTtlMs: 30 * SECOND },
  });
  const refusal = {
    status: 404,
    code: 'MANIFEST_UNKNOWN',
    message: `${UPSTREAM} has no manifest nothing in ${REPOSITORY}`,
    detail: { upstream: UPSTREAM, reference: 'nothing' },
  };
  const first = await manifest('nothing');
  t.deepEqual(refusalOf(first), refusal);
  registry.tag(REPOSITORY, 'nothing', image.manifest);
  clock.advance(30 * SECOND - 1);
  const second = await manifest('nothing');
  t.deepEqual(refusalOf(second), refusal);
  t.is(second.headers['cache-status'], 'entrepot; hit; detail=negative');
  t.is((await manifest('nothing', { method: 'HEAD' })).status, 404);
  t.deepEqual(registry.conversation(), [
    `HEAD /v2/${REPOSITORY}/manifests/nothing`,
    `GET /v2/${REPOSITORY}/manifests/nothing`,
  ]);
  clock.advance(1);
  t.is((await manifest('nothing')).status, 200);
});

test('a clock that is set back does not lengthen the negative ttl', async (t) => {
  const { registry, manifest, clock, image } = await startScene(t, {
    tags: { negativeTtlMs: 30 * SECOND },
  });
  t.is((await manifest('later')).status, 404);
  registry.addImage(REPOSITORY, 'later', image);
  clock.setBack(72 * HOUR);
  clock.advance(30 * SECOND);
  t.is((await manifest('later')).status, 200);
});

test('without a negative ttl every client asks', async (t) => {
  const { registry, manifest } = await startScene(t);
  const first = await manifest('nothing');
  t.deepEqual([first.status, first.headers['cache-status']], [404, 'entrepot; fwd=miss']);
  t.is((await manifest('nothing')).status, 404);
  const path = `/v2/${REPOSITORY}/manifests/nothing`;
  const lines = [`HEAD ${path}`, `GET ${path}`];
  t.deepEqual(registry.conversation(), [...lines, ...lines]);
});

test('a 404 of a digest and of a blob is asked for once within the negative ttl', async (t) => {
  const { registry, manifest, blob, clock } = await startScene(t, {
    tags: { negativeTtlMs: 30 * SECOND },
  });
  const absent = buildMoved();
  registry.name(absent.manifest, 'moved');
  registry.name(absent.layer(0), 'moved.layer0');
  for (const seconds of [0, 29, 1]) {
    clock.advance(seconds * SECOND);
    t.is((await manifest(absent.manifest.digest)).status, 404);
    t.is((await blob(absent.layer(0))).status, 404);
    t.is((await blob(absent.layer(0), { method: 'HEAD' })).status, 404);
  }
  const lines = [GET_MOVED, `GET /v2/${REPOSITORY}/blobs/<moved.layer0>`];
  t.deepEqual(registry.conversation(), [...lines, ...lines]);
});

test('a held tag that the upstream removed is 404', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  await manifest('latest');
  registry.untag(REPOSITORY, 'latest');
  registry.clear();
  t.is((await manifest('latest')).status, 404);
  t.is((await manifest('latest', { method: 'HEAD' })).status, 404);
  t.is((await manifest(image.manifest.digest)).status, 200, 'its digest is still held');
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_LATEST, HEAD_LATEST, GET_LATEST]);
});

test('a tag that the upstream removed stays gone when it goes down, also after a restart', async (t) => {
  const { registry, manifest, mirror, clock, ask, image } = await startScene(t, {
    tags: { negativeTtlMs: 30 * SECOND },
  });
  registry.tag(REPOSITORY, 'stays', image.manifest);
  await manifest('stays');
  await manifest('latest');
  registry.untag(REPOSITORY, 'latest');
  t.is((await manifest('latest')).status, 404);
  t.deepEqual(registry.conversation(), [
    `HEAD /v2/${REPOSITORY}/manifests/stays`,
    GET_APP,
    HEAD_LATEST,
    HEAD_LATEST,
    GET_LATEST,
  ]);
  await registry.refuse();
  clock.advance(30 * SECOND);
  const gone = {
    status: 404,
    code: 'MANIFEST_UNKNOWN',
    message: `${UPSTREAM} has no manifest latest in ${REPOSITORY}`,
    detail: { upstream: UPSTREAM, reference: 'latest' },
  };
  t.deepEqual(refusalOf(await manifest('latest')), gone);
  t.is((await manifest('latest', { method: 'HEAD' })).status, 404);
  const tags = async (url: string): Promise<unknown> =>
    JSON.parse((await get(`${url}/v2/${REPOSITORY}/tags/list`)).body.toString());
  t.deepEqual(await tags(mirror.url), { name: REPOSITORY, tags: ['stays'] });
  t.is((await manifest('stays')).headers['cache-status'], 'entrepot; hit; detail=stale');
  t.is((await ask(`/v2/${REPOSITORY}/manifests/${image.manifest.digest}`)).status, 200);
  await mirror.stop();
  const again = await startMirror(t, {
    storePath: mirror.storePath,
    clock,
    upstreams: { [UPSTREAM]: { url: registry.url } },
  });
  t.deepEqual(refusalOf(await get(`${again.url}/v2/${REPOSITORY}/manifests/latest`)), gone);
  t.deepEqual(await tags(again.url), { name: REPOSITORY, tags: ['stays'] });
  t.is((await get(`${again.url}/v2/${REPOSITORY}/manifests/stays`)).status, 200);
});

test('a removed tag that comes back upstream is a tag like any other when that goes down', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  await manifest('latest');
  registry.untag(REPOSITORY, 'latest');
  t.is((await manifest('latest')).status, 404);
  registry.tag(REPOSITORY, 'latest', image.manifest);
  t.is((await manifest('latest', { method: 'HEAD' })).status, 200);
  await registry.refuse();
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=stale');
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    GET_APP,
    HEAD_LATEST,
    GET_LATEST,
    HEAD_LATEST,
  ]);
});

test('a tag that was old enough to be answered at once is not once it is gone', async (t) => {
  const { registry, manifest, mirror, clock } = await startScene(t, {
    tags: { ...TTL, staleWhileRevalidateMs: HOUR },
  });
  await manifest('latest');
  registry.untag(REPOSITORY, 'latest');
  clock.advance(TTL.ttlMs);
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=stale');
  await idle(mirror);
  t.is((await manifest('latest')).status, 404);
  const gone = [HEAD_LATEST, GET_LATEST];
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP, ...gone, ...gone]);
});

test('a tag that comes back after its removal is confirmed by one HEAD', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  await manifest('latest');
  registry.untag(REPOSITORY, 'latest');
  await manifest('latest');
  registry.tag(REPOSITORY, 'latest', image.manifest);
  registry.clear();
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});
