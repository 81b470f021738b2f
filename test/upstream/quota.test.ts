import test from 'ava';
import type { ExecutionContext } from 'ava';
import { HOUR, MINUTE, SECOND } from '../helpers/clock.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, buildIndex, type Image, type Index } from '../helpers/image.ts';
import type { TestMirror } from '../helpers/mirror.ts';
import {
  REPOSITORY,
  UPSTREAM,
  idle,
  refusalOf,
  staleWarning,
  startScene,
  told,
  type Scene,
  type SceneOptions,
} from '../helpers/scene.ts';

const TTL = { ttlMs: 5 * MINUTE };
const MANIFESTS = `/v2/${REPOSITORY}/manifests`;
const HEAD_LATEST = `HEAD ${MANIFESTS}/latest`;
const GET_APP = `GET ${MANIFESTS}/<app>`;
const GET_MOVED = `GET ${MANIFESTS}/<moved>`;
const always = { times: Infinity };
const HUB = { limit: 100, remaining: 100 };

/** What Docker Hub counts as pulls. */
function pulls(registry: FakeRegistry): number {
  return registry.requests.filter(
    ({ method, path }) => method === 'GET' && path.includes('/manifests/'),
  ).length;
}

async function startHub(
  t: ExecutionContext,
  options: SceneOptions = {},
  limit: Parameters<FakeRegistry['rateLimit']>[0] = HUB,
): Promise<Scene> {
  const scene = await startScene(t, { ...options, tags: { ...TTL, ...options.tags } });
  scene.registry.rateLimit(limit);
  return scene;
}

function moveTag({ registry }: Scene, seed = 'moved'): Image {
  const moved = buildImage({ seed, layers: [10] });
  registry.addImage(REPOSITORY, 'latest', moved, { name: seed });
  return moved;
}

// The number of pulls that Docker Hub counts

interface Many extends Scene {
  readonly index: Index;
  /** As Docker on amd64 does: HEAD and GET of the tag, its platform's manifest, and every blob. */
  readonly pull: () => Promise<void>;
}

const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };

function buildMany(seed: string): Index {
  return buildIndex([
    { image: buildImage({ seed: `${seed} amd64`, layers: [10, 20] }), platform: AMD64 },
    { image: buildImage({ seed: `${seed} arm64`, layers: [10, 20] }), platform: ARM64 },
  ]);
}

async function startMany(t: ExecutionContext): Promise<Many> {
  const scene = await startHub(t);
  const { registry, ask, mirror } = scene;
  const index = buildMany('many');
  registry.addIndex('library/many', 'latest', index, { name: 'many' });
  const pull = async (): Promise<void> => {
    const at = '/v2/library/many';
    t.is((await ask(`${at}/manifests/latest`, { method: 'HEAD' })).status, 200);
    const list = JSON.parse((await ask(`${at}/manifests/latest`)).body.toString()) as {
      manifests: { digest: string }[];
    };
    const answer = await ask(`${at}/manifests/${list.manifests[0]?.digest}`);
    const own = JSON.parse(answer.body.toString()) as {
      config: { digest: string };
      layers: { digest: string }[];
    };
    for (const { digest } of [own.config, ...own.layers]) {
      t.is((await ask(`${at}/blobs/${digest}`)).status, 200);
    }
    await idle(mirror);
  };
  return { ...scene, index, pull };
}

test('a cold pull of one platform costs two: the index and its manifest', async (t) => {
  const { registry, pull } = await startMany(t);
  await pull();
  t.is(pulls(registry), 2);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/library/many/manifests/latest',
    'GET /v2/library/many/manifests/<many>',
    'GET /v2/library/many/manifests/<many.0>',
    'GET /v2/library/many/blobs/<many.0.config>',
    'GET /v2/library/many/blobs/<many.0.layer0>',
    'GET /v2/library/many/blobs/<many.0.layer1>',
  ]);
});

test('a pull again within the ttl costs nothing and asks nothing', async (t) => {
  const { registry, pull, clock } = await startMany(t);
  await pull();
  registry.clear();
  clock.advance(TTL.ttlMs - 1);
  await pull();
  t.is(pulls(registry), 0);
  t.deepEqual(registry.conversation(), []);
});

test('a pull again after the ttl costs nothing while the tag has not moved: one HEAD', async (t) => {
  const { registry, pull, clock } = await startMany(t);
  await pull();
  registry.clear();
  clock.advance(TTL.ttlMs);
  await pull();
  t.is(pulls(registry), 0);
  t.deepEqual(registry.conversation(), ['HEAD /v2/library/many/manifests/latest']);
});

test('a tag that moved costs two again: its new index and the manifest in it', async (t) => {
  const { registry, pull, clock } = await startMany(t);
  await pull();
  registry.addIndex('library/many', 'latest', buildMany('next'), { name: 'next' });
  registry.clear();
  clock.advance(TTL.ttlMs);
  await pull();
  t.is(pulls(registry), 2);
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/library/many/manifests/latest',
    'GET /v2/library/many/manifests/<next>',
    'GET /v2/library/many/manifests/<next.0>',
    'GET /v2/library/many/blobs/<next.0.config>',
    'GET /v2/library/many/blobs/<next.0.layer0>',
    'GET /v2/library/many/blobs/<next.0.layer1>',
  ]);
});

test('a tag that moved to an index with the same manifest of the platform costs one', async (t) => {
  const { registry, pull, clock, index } = await startMany(t);
  await pull();
  const [amd64] = index.images;
  if (!amd64) throw new Error('no image');
  const other = buildImage({ seed: 'other arm64', layers: [1] });
  const next = buildIndex([
    { image: amd64, platform: AMD64 },
    { image: other, platform: ARM64 },
  ]);
  registry.addIndex('library/many', 'latest', next, { name: 'next' });
  registry.clear();
  clock.advance(TTL.ttlMs);
  await pull();
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/library/many/manifests/latest',
    'GET /v2/library/many/manifests/<next>',
  ]);
});

test('a check of 100 tags costs nothing: one HEAD each', async (t) => {
  const { registry, manifest, image } = await startHub(t);
  const tags = Array.from({ length: 100 }, (_, turn) => `v${turn}`);
  for (const tag of tags) registry.tag(REPOSITORY, tag, image.manifest);
  for (const tag of tags) t.is((await manifest(tag, { method: 'HEAD' })).status, 200);
  t.is(pulls(registry), 0);
  t.deepEqual(
    registry.conversation(),
    tags.map((tag) => `HEAD ${MANIFESTS}/${tag}`),
  );
});

test('a hundred tags of one manifest cost one', async (t) => {
  const { registry, manifest, image } = await startHub(t);
  const tags = Array.from({ length: 100 }, (_, turn) => `v${turn}`);
  for (const tag of tags) registry.tag(REPOSITORY, tag, image.manifest);
  for (const tag of tags) t.deepEqual((await manifest(tag)).body, image.manifest.bytes);
  t.is(pulls(registry), 1);
});

// The end of the quota

const SPENT = 'limits the rate of requests (429), and is not asked before that ends';

function spent(retryAfter: string): Record<string, unknown> {
  return {
    status: 429,
    code: 'TOOMANYREQUESTS',
    retryAfter,
    message: `${UPSTREAM}: ${SPENT}`,
    detail: { upstream: UPSTREAM, fault: 'rate-limited', upstreamStatus: 429 },
  };
}

test('after 429 with none remaining only HEADs are sent, until one shows room again', async (t) => {
  const scene = await startHub(t, { tags: { ttlMs: 0 } }, { limit: 100, remaining: 1 });
  const { registry, manifest, image, clock } = scene;
  await manifest('latest');
  const moved = moveTag(scene);
  registry.clear();
  t.deepEqual(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '0',
    warning: staleWarning(
      `${UPSTREAM}: ${registry.host} limits the rate of requests (429): TOOMANYREQUESTS: toomanyrequests`,
    ),
  });
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_MOVED]);
  registry.clear();
  clock.advance(MINUTE);
  const held = await manifest('latest');
  t.deepEqual(told(held), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '60',
    warning: staleWarning(`${UPSTREAM}: ${SPENT}`),
  });
  t.deepEqual(held.body, image.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  registry.clear();
  t.deepEqual(refusalOf(await manifest(moved.manifest.digest)), spent('840'));
  t.deepEqual(registry.conversation(), []);
  registry.rateLimit({ limit: 100, remaining: 50 });
  t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_MOVED]);
});

test('while nothing remains, HEADs of clients and blobs go on', async (t) => {
  const scene = await startHub(t, {}, { limit: 100, remaining: 0 });
  const { registry, manifest, blob, image } = scene;
  t.is((await manifest('latest')).status, 429);
  registry.tag(REPOSITORY, 'other', image.manifest);
  registry.clear();
  t.is((await manifest('other', { method: 'HEAD' })).status, 200);
  t.deepEqual((await blob(image.layer(0))).body, image.layer(0).bytes);
  t.deepEqual(registry.conversation(), [
    `HEAD ${MANIFESTS}/other`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
  ]);
});

test('without a word of the end, one counted request is tried after a quarter of an hour', async (t) => {
  const scene = await startHub(t, {}, { limit: 100, remaining: 0 });
  const { registry, manifest, image, clock } = scene;
  const { digest } = image.manifest;
  t.is((await manifest(digest)).status, 429);
  clock.advance(15 * MINUTE - 1);
  t.deepEqual(refusalOf(await manifest(digest)), spent('1'));
  t.is(pulls(registry), 1);
  clock.advance(1);
  t.is((await manifest(digest)).status, 429);
  t.deepEqual(registry.conversation(), [GET_APP, GET_APP]);
});

// 429 of a registry that tells nothing

test('429 without headers stops every request for 1 s, 2 s, up to a minute, and an answer ends that', async (t) => {
  const { registry, manifest, blob, image, clock } = await startScene(t);
  const { digest } = image.manifest;
  registry.status(/^\/v2\//, 429, always);
  t.is(refusalOf(await manifest(digest))['retryAfter'], '1');
  const heardAfter = async (milliseconds: number): Promise<string[]> => {
    clock.advance(milliseconds);
    registry.clear();
    await manifest(digest);
    return registry.conversation();
  };
  for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
    t.deepEqual(await heardAfter(seconds * SECOND - 1), [], `before ${seconds} s`);
    t.deepEqual(refusalOf(await manifest(digest)), spent('1'));
    t.is((await manifest('latest', { method: 'HEAD' })).status, 429);
    t.is((await blob(image.layer(0))).status, 429);
    t.deepEqual(registry.conversation(), []);
    t.deepEqual(await heardAfter(1), [GET_APP], `after ${seconds} s`);
  }
  clock.advance(MINUTE);
  registry.heal();
  t.is((await blob(image.layer(0))).status, 200);
  registry.status(/^\/v2\//, 429, always);
  t.deepEqual(await heardAfter(0), [GET_APP]);
  t.deepEqual(await heardAfter(SECOND - 1), []);
  t.deepEqual(await heardAfter(1), [GET_APP]);
});

test('a held tag is stale and at once while the registry is left alone', async (t) => {
  const { registry, manifest } = await startScene(t);
  await manifest('latest');
  registry.status(/^\/v2\//, 429, always);
  await manifest('latest');
  registry.clear();
  t.deepEqual(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '0',
    warning: staleWarning(`${UPSTREAM}: ${SPENT}`),
  });
  t.deepEqual(registry.conversation(), []);
});

// Retry-After

test('Retry-After in seconds is waited for, and told to clients as what is left of it', async (t) => {
  const { registry, manifest, clock } = await startScene(t);
  registry.status(/^\/v2\//, 429, { headers: { 'Retry-After': '120' } });
  const first = refusalOf(await manifest('latest'));
  t.is(first['retryAfter'], '120');
  clock.advance(20 * SECOND);
  t.deepEqual(refusalOf(await manifest('latest')), spent('100'));
  clock.advance(100 * SECOND - 1);
  t.deepEqual(refusalOf(await manifest('latest')), spent('1'));
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  clock.advance(1);
  t.is((await manifest('latest')).status, 200);
});

test('a clock that is set back does not lengthen a pause', async (t) => {
  const { registry, manifest, clock } = await startScene(t);
  registry.status(/^\/v2\//, 429, { headers: { 'Retry-After': '60' } });
  t.is((await manifest('latest')).status, 429);
  clock.setBack(72 * HOUR);
  t.deepEqual(refusalOf(await manifest('latest')), spent('60'));
  clock.advance(MINUTE);
  t.is((await manifest('latest')).status, 200);
});

const LATER: [claim: string, value: (now: number) => string][] = [
  ['in seconds', () => '86400'],
  ['as a date', (now) => new Date(now + 24 * HOUR).toUTCString()],
];

for (const [claim, value] of LATER) {
  test(`Retry-After of a day, ${claim}, is waited for an hour`, async (t) => {
    const { registry, manifest, clock } = await startScene(t);
    registry.status(/^\/v2\//, 429, { headers: { 'Retry-After': value(clock.now()) } });
    t.is((await manifest('latest')).status, 429);
    t.deepEqual(refusalOf(await manifest('latest')), spent('3600'));
    clock.advance(HOUR - 1);
    t.deepEqual(refusalOf(await manifest('latest')), spent('1'));
    clock.advance(1);
    t.is((await manifest('latest')).status, 200);
  });
}

test('Retry-After as a date is waited for', async (t) => {
  const { registry, manifest, clock } = await startScene(t);
  const date = new Date(clock.now() + 30 * MINUTE).toUTCString();
  registry.status(/^\/v2\//, 429, { headers: { 'Retry-After': date } });
  t.is(refusalOf(await manifest('latest'))['retryAfter'], '1800');
  clock.advance(25 * MINUTE);
  t.deepEqual(refusalOf(await manifest('latest')), spent('300'));
  clock.advance(5 * MINUTE);
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, HEAD_LATEST, GET_APP]);
});

test('Retry-After counts also when nothing remains', async (t) => {
  const scene = await startScene(t);
  const { registry, manifest, image, clock } = scene;
  const headers = {
    'RateLimit-Limit': '100;w=21600',
    'RateLimit-Remaining': '0;w=21600',
    'Retry-After': '600',
  };
  registry.status(image.manifest, 429, { headers, method: 'GET' });
  t.is((await manifest('latest')).status, 429);
  registry.clear();
  clock.advance(10 * MINUTE - 1);
  t.deepEqual(refusalOf(await manifest('latest')), spent('1'));
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  clock.advance(1);
  t.is((await manifest('latest')).status, 200);
});

for (const [claim, wrongBy] of [
  ['behind by three days', -72 * HOUR],
  ['behind by an hour', -HOUR],
  ['ahead by an hour', HOUR],
  ['ahead by three days', 72 * HOUR],
] as const) {
  test(`Retry-After as a date counts from the answer's own date, when the clock is ${claim}`, async (t) => {
    const { registry, manifest, clock } = await startScene(t);
    const right = clock.now() - wrongBy;
    const headers = {
      Date: new Date(right).toUTCString(),
      'Retry-After': new Date(right + 30 * SECOND).toUTCString(),
    };
    registry.status(/^\/v2\//, 429, { headers });
    t.is(refusalOf(await manifest('latest'))['retryAfter'], '30');
    clock.advance(30 * SECOND - 1);
    t.deepEqual(refusalOf(await manifest('latest')), spent('1'));
    clock.advance(1);
    t.is((await manifest('latest')).status, 200);
    t.deepEqual(registry.conversation(), [HEAD_LATEST, HEAD_LATEST, GET_APP]);
  });
}

test('Retry-After as a date in an answer that has none of its own is waited for a minute at most', async (t) => {
  const { registry, manifest, clock } = await startScene(t);
  const headers = { Date: '', 'Retry-After': new Date(clock.now() + HOUR).toUTCString() };
  registry.status(/^\/v2\//, 429, { headers });
  t.is(refusalOf(await manifest('latest'))['retryAfter'], '60');
  clock.advance(MINUTE);
  t.is((await manifest('latest')).status, 200);
});

// Whom a 429 is about

const OTHERS = ['team/one', 'team/two', 'team/three', 'team/four'];

/** The scene with four more repositories, and the status and wait that a GET of a tag of one of them brings. */
async function startOthers(
  t: ExecutionContext,
): Promise<Scene & { readonly pull: (name: string) => Promise<[number, unknown]> }> {
  const scene = await startScene(t);
  for (const name of OTHERS) {
    const image = buildImage({ seed: name, layers: [10] });
    scene.registry.addImage(name, 'latest', image, { name });
  }
  const pull = async (name: string): Promise<[number, unknown]> => {
    const { status, headers } = await scene.ask(`/v2/${name}/manifests/latest`);
    return [status, headers['retry-after']];
  };
  return { ...scene, pull };
}

function headOf(name: string): string {
  return `HEAD /v2/${name}/manifests/latest`;
}

test('a 429 of one repository that asks for an hour shuts no other one out', async (t) => {
  const { registry, pull, clock } = await startOthers(t);
  registry.status(/team\/one\//, 429, { ...always, headers: { 'Retry-After': '3600' } });
  t.deepEqual(await pull('team/one'), [429, '3600']);
  t.deepEqual(await pull('team/two'), [200, undefined]);
  t.deepEqual(await pull('team/one'), [429, '3600']);
  t.deepEqual(await pull('team/three'), [200, undefined]);
  t.deepEqual(
    registry.conversation().filter((line) => line.startsWith('HEAD')),
    ['team/one', 'team/two', 'team/three'].map(headOf),
  );
  registry.heal();
  clock.advance(HOUR);
  t.deepEqual(await pull('team/one'), [200, undefined]);
});

test('a 429 of three repositories with no other answer between stops all for a pause of the mirror', async (t) => {
  const { registry, pull, clock } = await startOthers(t);
  registry.status(/team\//, 429, { ...always, headers: { 'Retry-After': '3600' } });
  for (const name of ['team/one', 'team/two', 'team/three']) {
    t.deepEqual(await pull(name), [429, '3600']);
  }
  t.deepEqual(await pull('team/four'), [429, '1']);
  t.deepEqual(await pull(REPOSITORY), [429, '1']);
  t.deepEqual(registry.conversation(), ['team/one', 'team/two', 'team/three'].map(headOf));
  registry.clear();
  clock.advance(SECOND);
  t.deepEqual(await pull('team/four'), [429, '3600']);
  t.deepEqual(await pull(REPOSITORY), [429, '2']);
  clock.advance(2 * SECOND);
  t.deepEqual(await pull(REPOSITORY), [200, undefined]);
  t.deepEqual(registry.conversation(), [headOf('team/four'), HEAD_LATEST, GET_APP]);
});

test('a 429 of three repositories with other answers between stops those alone', async (t) => {
  const { registry, pull, manifest } = await startOthers(t);
  registry.status(/team\/(?!four)/, 429, { ...always, headers: { 'Retry-After': '60' } });
  for (const name of ['team/one', 'team/two', 'team/three']) {
    t.deepEqual(await pull(name), [429, '60']);
    t.is((await manifest(`between-${name.slice(5)}`)).status, 404);
  }
  t.deepEqual(await pull('team/four'), [200, undefined]);
});

test('a 429 of a registry that counts by account stops all for as long as it says', async (t) => {
  const { registry, pull, clock } = await startOthers(t);
  registry.rateLimit(HUB);
  t.deepEqual(await pull('team/two'), [200, undefined]);
  registry.clear();
  registry.status(/team\/one\//, 429, { headers: { 'Retry-After': '600' } });
  t.deepEqual(await pull('team/one'), [429, '600']);
  t.deepEqual(await pull('team/three'), [429, '600']);
  t.deepEqual(registry.conversation(), [headOf('team/one')]);
  clock.advance(10 * MINUTE);
  t.deepEqual(await pull('team/three'), [200, undefined]);
});

const NO_TIME: [claim: string, value: (now: number) => string][] = [
  ['zero', () => '0'],
  ['a date that is past', (now) => new Date(now - MINUTE).toUTCString()],
  ['a negative number', () => '-5'],
  ['no date', () => 'soon'],
];

for (const [claim, value] of NO_TIME) {
  test(`Retry-After with ${claim} names no time: one request, then a pause of the mirror`, async (t) => {
    const { registry, manifest, clock } = await startScene(t);
    const headers = { 'Retry-After': value(clock.now()) };
    registry.status(/^\/v2\//, 429, { headers, times: 50 });
    t.is(refusalOf(await manifest('latest'))['retryAfter'], '1');
    t.deepEqual(refusalOf(await manifest('latest')), spent('1'));
    t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  });
}

test('a pause grows with each refusal, however short the one that is asked for', async (t) => {
  const { registry, manifest, clock } = await startScene(t);
  registry.status(/^\/v2\//, 429, { headers: { 'Retry-After': '1' }, times: 50 });
  const pauses: unknown[] = [];
  for (let turn = 0; turn < 4; turn += 1) {
    t.is((await manifest('latest')).status, 429);
    const { retryAfter } = refusalOf(await manifest('latest'));
    pauses.push(retryAfter);
    clock.advance(Number(retryAfter) * SECOND);
  }
  t.deepEqual(pauses, ['1', '2', '4', '8']);
  t.is(registry.conversation().length, 4);
});

// The reserve: a quarter of the limit

const BEHIND = { ...TTL, staleWhileRevalidateMs: HOUR };

test('behind a client, nothing of the reserve is spent: HEAD goes, GET waits for one who asks', async (t) => {
  const scene = await startHub(t, { tags: BEHIND }, { limit: 100, remaining: 26 });
  const { registry, mirror, manifest, clock, image } = scene;
  await manifest('latest');
  const moved = moveTag(scene);
  registry.clear();
  clock.advance(6 * MINUTE);
  const answer = await manifest('latest');
  t.deepEqual(told(answer), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '360',
    warning: staleWarning('being revalidated'),
  });
  t.deepEqual(answer.body, image.manifest.bytes);
  await idle(mirror);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  registry.clear();
  t.deepEqual((await manifest(moved.manifest.digest)).body, moved.manifest.bytes);
  t.deepEqual(registry.conversation(), [GET_MOVED]);
});

test('a client that must wait for the moved tag has it from the reserve', async (t) => {
  const scene = await startHub(t, { tags: BEHIND }, { limit: 100, remaining: 26 });
  const { registry, mirror, manifest, clock } = scene;
  await manifest('latest');
  const moved = moveTag(scene);
  clock.advance(6 * MINUTE);
  await manifest('latest');
  await idle(mirror);
  registry.clear();
  clock.advance(HOUR);
  t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_MOVED]);
});

test('above the reserve the moved manifest is fetched behind the client', async (t) => {
  const scene = await startHub(t, { tags: BEHIND }, { limit: 100, remaining: 27 });
  const { registry, mirror, manifest, clock } = scene;
  await manifest('latest');
  const moved = moveTag(scene);
  registry.clear();
  clock.advance(6 * MINUTE);
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=stale');
  await idle(mirror);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_MOVED]);
  t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
});

// What metrics show of it

async function shown({ server }: TestMirror): Promise<Record<string, number[]>> {
  const { rateLimitLimit, rateLimitRemaining, rateLimitWindowSeconds, rateLimitEmptySeconds } =
    server.metrics;
  const gauges = {
    limit: rateLimitLimit,
    remaining: rateLimitRemaining,
    window: rateLimitWindowSeconds,
    empty: rateLimitEmptySeconds,
  };
  await server.metrics.expose();
  const entries = Object.entries(gauges).map(async ([name, gauge]) => {
    const { values } = await gauge.get();
    return [name, values.map(({ value }) => value)] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

test('limit, what remains, the window and the time until empty are shown', async (t) => {
  const scene = await startHub(t, { tags: { ttlMs: 0 } }, { ...HUB, window: 3600 });
  const { registry, mirror, manifest, clock } = scene;
  await manifest('latest', { method: 'HEAD' });
  t.deepEqual(await shown(mirror), { limit: [100], remaining: [100], window: [3600], empty: [] });
  clock.advance(10 * MINUTE);
  registry.rateLimit({ ...HUB, remaining: 80, window: 3600 });
  await manifest('latest', { method: 'HEAD' });
  // 20 in 10 minutes: 80 last 40 minutes.
  t.deepEqual(await shown(mirror), {
    limit: [100],
    remaining: [80],
    window: [3600],
    empty: [2400],
  });
  clock.advance(20 * MINUTE);
  await manifest('latest', { method: 'HEAD' });
  t.deepEqual((await shown(mirror))['empty'], [7200]);
  const text = await mirror.server.metrics.registry.metrics();
  t.true(text.includes(`entrepot_upstream_ratelimit_empty_seconds{upstream="${UPSTREAM}"} 7200`));
  t.true(text.includes(`entrepot_upstream_ratelimit_remaining{upstream="${UPSTREAM}"} 80`));
});

test('the forecast looks back an hour, ends with the window, and is 0 when nothing remains', async (t) => {
  const scene = await startHub(t, { tags: { ttlMs: 0 } });
  const { registry, mirror, manifest, clock } = scene;
  const see = async (remaining: number): Promise<number[]> => {
    registry.rateLimit({ limit: 100, remaining });
    await manifest('latest', { method: 'HEAD' });
    return (await shown(mirror))['empty'] ?? [];
  };
  t.deepEqual(await see(100), []);
  clock.advance(30 * MINUTE);
  t.deepEqual(await see(40), [1200]);
  clock.advance(31 * MINUTE);
  // The 60 of the first minute are more than an hour ago: 4 in 31 minutes.
  t.deepEqual(await see(36), [16_740]);
  t.deepEqual(await see(100), []);
  clock.advance(10 * MINUTE);
  t.deepEqual(await see(50), [600]);
  clock.advance(MINUTE);
  t.deepEqual(await see(0), [0]);
});

test('an hour without use ends the forecast', async (t) => {
  const scene = await startHub(t, { tags: { ttlMs: 0 } });
  const { registry, mirror, manifest, clock } = scene;
  await manifest('latest', { method: 'HEAD' });
  clock.advance(10 * MINUTE);
  registry.rateLimit({ limit: 100, remaining: 80 });
  await manifest('latest', { method: 'HEAD' });
  t.deepEqual((await shown(mirror))['empty'], [2400]);
  clock.advance(2 * HOUR);
  await manifest('latest', { method: 'HEAD' });
  t.deepEqual((await shown(mirror))['empty'], []);
});

test('of an upstream that tells nothing, nothing is shown', async (t) => {
  const { mirror, manifest, registry } = await startScene(t);
  await manifest('latest');
  t.deepEqual(await shown(mirror), { limit: [], remaining: [], window: [], empty: [] });
  registry.status(/^\/v2\//, 429, always);
  await manifest('latest');
  t.deepEqual(await shown(mirror), { limit: [], remaining: [], window: [], empty: [] });
  const text = await mirror.server.metrics.registry.metrics();
  t.notRegex(text, /^entrepot_upstream_ratelimit_\w+\{/m);
});
