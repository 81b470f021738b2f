import test from 'ava';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import type { ServerStatus, UpstreamStatus } from '../../src/api/status-api.ts';
import { UpstreamError } from '../../src/oci/upstream-error.ts';
import { Secrets } from '../../src/upstream/secrets.ts';
import { Breaker } from '../../src/upstream/breaker.ts';
import { get, open, type ClientAnswer } from '../helpers/client.ts';
import { Clock, HOUR, SECOND } from '../helpers/clock.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
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
import { until } from '../helpers/until.ts';

const PAUSE = 10 * SECOND;
const HOST = 'registry.example';
const always = { times: Infinity };
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;

async function startBreakable(
  t: ExecutionContext,
  { timing, ...options }: SceneOptions = {},
): Promise<Scene> {
  return startScene(t, { ...options, timing: { breakerMs: PAUSE, ...timing } });
}

async function up({ server }: TestMirror): Promise<number[]> {
  await server.metrics.expose();
  return (await server.metrics.upstreamUp.get()).values.map(({ value }) => value);
}

async function statusOf({ server }: TestMirror): Promise<UpstreamStatus | undefined> {
  const { body } = await get(`${server.adminUrl}/api/v1/status`);
  return (JSON.parse(body.toString()) as ServerStatus).upstreams[0];
}

function said({ log }: TestMirror, message: string): Record<string, unknown>[] {
  return log
    .filter(({ msg }) => msg === message)
    .map(({ upstream, reason, downMs }) => ({
      upstream,
      ...(reason !== undefined && { reason }),
      ...(downMs !== undefined && { downMs }),
    }));
}

/** Three attempts at one manifest, and our own question, all refused. */
async function bringDown({ registry, mirror, manifest }: Scene): Promise<void> {
  await registry.refuse();
  await manifest('unheld');
  await mirror.logged('the upstream is down');
  registry.clear();
}

async function bringBack({ registry, clock }: Scene): Promise<void> {
  await registry.accept();
  clock.advance(PAUSE);
}

/** Tags of the scene's image that nobody has asked for. */
function addTags({ registry, image }: Scene, count: number): string[] {
  const tags = Array.from({ length: count }, (_, turn) => `tag${turn}`);
  for (const tag of tags) registry.tag(REPOSITORY, tag, image.manifest);
  return tags;
}

/** Resolves when so many tags are being asked for, and all of them have got as far as they can. */
async function asking({ server }: TestMirror, tags: number): Promise<void> {
  await until('all wait', () => server.activity().questions === 2 * tags);
}

const REFUSED = { status: 502, code: 'UNAVAILABLE' };
const unreachable = ({ host }: FakeRegistry): string => `no connection to ${host} (ECONNREFUSED)`;

function refusal(registry: FakeRegistry, seconds: number): Record<string, unknown> {
  return {
    ...REFUSED,
    message: `${UPSTREAM}: ${unreachable(registry)}${seconds === 0 ? '' : `, for ${seconds} s`}`,
    detail: { upstream: UPSTREAM, fault: 'unreachable' },
  };
}

// What marks an upstream down

const PROBE = 'GET /v2/';
const OTHERS = ['team/one', 'team/two', 'team/three'];

async function askOthers({ ask }: Scene, count = OTHERS.length): Promise<void> {
  for (const repository of OTHERS.slice(0, count)) await ask(`/v2/${repository}/manifests/latest`);
}

interface Failure {
  readonly strike: (registry: FakeRegistry) => unknown;
  /** Until the registry is asked by ourselves. */
  readonly provoke: (scene: Scene) => Promise<unknown>;
  readonly heard: readonly string[];
  readonly reason: (registry: FakeRegistry) => string;
  readonly fault: string;
  readonly upstreamStatus?: number;
  readonly status: number;
  readonly timing?: SceneOptions['timing'];
}

const answers = (status: number): Failure => ({
  strike: (registry) => registry.status(/^\/v2\//, status, always),
  provoke: askOthers,
  heard: OTHERS.map((repository) => `HEAD /v2/${repository}/manifests/latest`),
  reason: ({ host }) => `${host} answered ${status}`,
  fault: 'failing',
  upstreamStatus: status,
  status: status === 503 ? 503 : 502,
  timing: { attemptsMs: 0 },
});

const FAILURES: Record<string, Failure> = {
  'refuses three connections in a row': {
    strike: async (registry) => registry.refuse(),
    provoke: async ({ manifest }) => manifest('unheld'),
    heard: [],
    reason: unreachable,
    fault: 'unreachable',
    status: 502,
  },
  'does not answer in time once': {
    strike: (registry) => registry.hang(/^\/v2\//, always),
    provoke: async ({ manifest }) => manifest('unheld'),
    heard: [`HEAD /v2/${REPOSITORY}/manifests/unheld`],
    reason: ({ host }) => `no answer from ${host} within 1000 ms`,
    fault: 'timeout',
    status: 504,
    timing: { headersMs: 1_000, firstByteMs: 1_000, attemptsMs: 0 },
  },
  'answers 502 for three repositories': answers(502),
  'answers 503 for three repositories': answers(503),
  'answers 504 for three repositories': answers(504),
};

for (const [claim, failure] of Object.entries(FAILURES)) {
  test(`an upstream that ${claim}, and to our own question likewise, is down, and not asked while the pause lasts`, async (t) => {
    const { timing, fault, upstreamStatus } = failure;
    const scene = await startBreakable(t, { ...(timing && { timing }) });
    const { registry, mirror, manifest, blob, image, clock } = scene;
    const reason = failure.reason(registry);
    t.deepEqual(await up(mirror), []);
    await failure.strike(registry);
    await failure.provoke(scene);
    await mirror.logged('the upstream is down');
    t.deepEqual(
      registry.conversation(),
      failure.heard.length === 0 ? [] : [...failure.heard, PROBE],
    );
    t.deepEqual(await up(mirror), [0]);
    t.deepEqual(said(mirror, 'the upstream is down'), [{ upstream: UPSTREAM, reason }]);
    registry.clear();
    const { connections } = registry;
    clock.advance(4 * SECOND);
    const expected = {
      status: failure.status,
      code: 'UNAVAILABLE',
      message: `${UPSTREAM}: ${reason}, for 4 s`,
      detail: { upstream: UPSTREAM, fault, ...(upstreamStatus && { upstreamStatus }) },
    };
    t.deepEqual(refusalOf(await manifest('latest')), expected);
    t.deepEqual(refusalOf(await manifest(image.manifest.digest)), expected);
    t.deepEqual(refusalOf(await blob(image.layer(0))), expected);
    t.is((await manifest('latest', { method: 'HEAD' })).status, failure.status);
    t.deepEqual(registry.conversation(), []);
    t.is(registry.connections, connections);
  });
}

// What does not

for (const status of [401, 403, 404, 418, 500]) {
  test(`answers of ${status}, however many, are answers`, async (t) => {
    const { registry, mirror, manifest } = await startBreakable(t);
    registry.status(/^\/v2\//, status, always);
    for (let turn = 0; turn < 3; turn += 1) await manifest('latest');
    t.deepEqual(await up(mirror), [1]);
    registry.heal();
    registry.clear();
    t.is((await manifest('latest')).status, 200);
    t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP]);
    t.deepEqual(said(mirror, 'the upstream is down'), []);
  });
}

for (const status of [502, 503, 504]) {
  test(`answers of ${status} about one repository, however many, are no outage, and nothing is asked`, async (t) => {
    const { registry, mirror, manifest } = await startBreakable(t);
    registry.status(/^\/v2\//, status, always);
    for (let turn = 0; turn < 5; turn += 1) await manifest('latest');
    t.deepEqual(
      registry.conversation(),
      Array.from({ length: 15 }, () => HEAD_LATEST),
    );
    t.deepEqual(await up(mirror), []);
  });
}

test('repositories that fail, with an answer between, are no outage, and nothing is asked', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest } = scene;
  registry.status(/team/, 503, always);
  for (let turn = 0; turn < 3; turn += 1) {
    await askOthers(scene, 2);
    t.is((await manifest('latest')).status, 200);
  }
  t.deepEqual(await up(mirror), [1]);
  t.false(registry.conversation().includes(PROBE));
});

test('many repositories that fail while the registry answers our own question are no outage', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest } = scene;
  registry.status(/team/, 503, always);
  await askOthers(scene);
  await registry.seen('/v2/');
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(await up(mirror), [1]);
  t.deepEqual(said(mirror, 'the upstream is down'), []);
});

for (const status of [200, 401, 403, 404, 429]) {
  test(`a registry that answers ${status} to our own question is alive`, async (t) => {
    const scene = await startBreakable(t);
    const { registry, mirror } = scene;
    registry.status(/team/, 503, always);
    if (status !== 200) registry.status('/v2/', status, always);
    await askOthers(scene);
    await registry.seen('/v2/');
    t.is((await scene.manifest('latest')).status, 200);
    t.deepEqual(await up(mirror), [1]);
  });
}

test('connections that break at one path are no outage while the registry answers our own question', async (t) => {
  const { registry, mirror, manifest } = await startBreakable(t);
  registry.cut('/v2/library/app/manifests/crash', { ...always, after: 'request' });
  t.is((await manifest('crash')).status, 502);
  await registry.seen('/v2/');
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(await up(mirror), [1]);
});

// Suspicion

test('after one answer that does not come in time held tags are answered at once, until the registry answers our own question', async (t) => {
  const { registry, mirror, manifest } = await startBreakable(t, {
    timing: { headersMs: 1_000, attemptsMs: 0, probeMs: 60_000 },
  });
  await manifest('latest');
  registry.clear();
  registry.hang('/v2/library/app/manifests/slow');
  const probe = registry.hold('/v2/', { before: 'headers' });
  const behind = registry.hold('latest', { before: 'headers' });
  const reason = `no answer from ${registry.host} within 1000 ms`;
  t.is((await manifest('slow')).status, 504);
  await probe.arrived();
  t.like(await statusOf(mirror), { state: 'suspect', reason });
  t.deepEqual(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '0',
    warning: staleWarning(`${UPSTREAM}: ${reason}`),
  });
  t.deepEqual(await up(mirror), [1]);
  probe.open();
  behind.open();
  await idle(mirror);
  await until('the registry is up', async () => (await statusOf(mirror))?.state === 'up');
  t.is((await manifest('latest')).headers['warning'], undefined);
});

test('an answer that does not come in time says nothing when another one came meanwhile', async (t) => {
  const { registry, mirror, manifest } = await startBreakable(t, {
    timing: { headersMs: 3_000, attemptsMs: 0 },
  });
  const gate = registry.hang('/v2/library/app/manifests/slow');
  const slow = manifest('slow');
  await gate.arrived();
  t.is((await manifest('latest')).status, 200);
  t.is((await slow).status, 504);
  t.is((await manifest('latest')).headers['warning'], undefined);
  t.false(registry.conversation().includes(PROBE));
  t.deepEqual(await up(mirror), [1]);
});

test('clients that leave while the upstream is slow say nothing about it', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest, image } = scene;
  const layer = image.layer(1);
  const path = `${mirror.url}/v2/${REPOSITORY}/blobs/${layer.digest}`;
  const gate = registry.hold(layer, { ...always, before: 'headers' });
  for (let turn = 0; turn < 3; turn += 1) {
    const left = new AbortController();
    const answering = open(path, { signal: left.signal });
    await gate.arrived();
    left.abort();
    await t.throwsAsync(answering);
  }
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(await up(mirror), [1]);
  gate.open();
  t.deepEqual((await get(path)).body, layer.bytes);
});

test('a storage host that is down while the registry answers is no outage of the registry', async (t) => {
  const { registry, mirror, manifest, blob, image } = await startBreakable(t, {
    registry: { redirectBlobs: 307 },
    // Long enough that the first failures come in a row, with no answer of the registry between.
    timing: { retryMs: 100 },
  });
  const atStorage = { origin: 'storage', times: 3 } as const;
  const gate = registry.hold(/^\/blobs\//, { ...atStorage, before: 'headers' });
  registry.cut(/^\/blobs\//, { ...atStorage, after: 'request' });
  const answering = Promise.all(image.blobs.map(async (stored) => blob(stored)));
  await gate.arrived(3);
  gate.open();
  const answers = await answering;
  t.deepEqual(
    answers.map(({ body }) => body),
    image.blobs.map(({ bytes }) => bytes),
  );
  t.is(registry.requests.filter(({ origin }) => origin === 'storage').length, 6);
  t.deepEqual(said(mirror, 'the upstream is down'), []);
  t.deepEqual(await up(mirror), [1]);
  t.is((await manifest('latest')).status, 200);
});

test('while a token service elsewhere does not answer held tags are answered at once, until it does', async (t) => {
  const { registry, mirror, manifest, clock } = await startBreakable(t, {
    registry: { auth: { kind: 'bearer', realmHost: '127.0.0.1' } },
    timing: { headersMs: 1_000, attemptsMs: 0 },
  });
  await manifest('latest');
  registry.clear();
  clock.advance(24 * HOUR);
  registry.hang('/token', always);

  const reason = `no answer from ${registry.tokenHost} within 1000 ms`;
  t.is((await manifest('other')).status, 504);
  await mirror.logged('the token service is down');
  t.like(await statusOf(mirror), { state: 'suspect', reason });
  t.deepEqual(await up(mirror), [1]);
  const asked = registry.requests.length;
  const answer = await manifest('latest');
  t.is(answer.headers['warning'], staleWarning(`${UPSTREAM}: ${reason}`));
  t.is(registry.requests.length, asked);
  registry.heal();
  clock.advance(PAUSE);
  t.is((await manifest('third')).status, 404);
  t.is((await manifest('latest')).headers['warning'], undefined);
  t.like(await statusOf(mirror), { state: 'up' });
});

// Held content while it is down

test('a held tag is answered at once, and our own question goes on behind it', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest, image, clock } = scene;
  await manifest('latest');
  await bringDown(scene);
  const stale = {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    warning: staleWarning(`${UPSTREAM}: down: ${unreachable(registry)}`),
  };
  clock.advance(3 * SECOND);
  t.deepEqual(told(await manifest('latest')), { ...stale, age: '3' });
  clock.advance(PAUSE - 3 * SECOND);
  await registry.accept();
  const gate = registry.hold('/v2/', { before: 'headers' });
  const answer = await manifest('latest');
  t.deepEqual(told(answer), { ...stale, age: '10' });
  t.deepEqual(answer.body, image.manifest.bytes);
  await gate.arrived();
  t.deepEqual(told(await manifest('latest')), { ...stale, age: '10' });
  t.is(gate.waiting, 1);
  t.deepEqual(await up(mirror), [0]);
  clock.advance(2 * SECOND);
  gate.open();
  await idle(mirror);
  t.deepEqual(registry.conversation(), [PROBE, HEAD_LATEST]);
  t.deepEqual(await up(mirror), [1]);
  t.deepEqual(said(mirror, 'the upstream answers again'), [{ upstream: UPSTREAM, downMs: 12_000 }]);
  t.is((await manifest('latest')).headers['warning'], undefined);
});

// The test of recovery

test('after the pause we ask once; who comes meanwhile is served by a good verdict', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest, image } = scene;
  const tags = addTags(scene, 20);
  await bringDown(scene);
  await bringBack(scene);
  const gate = registry.hold('/v2/', { before: 'headers' });
  const answering = Promise.all(tags.map(async (tag) => manifest(tag)));
  await asking(mirror, 20);
  t.is(gate.waiting, 1);
  t.is(registry.requests.length, 1);
  gate.open();
  for (const { status, body } of await answering) {
    t.is(status, 200);
    t.deepEqual(body, image.manifest.bytes);
  }
  t.deepEqual(
    registry.conversation().toSorted(),
    [PROBE, GET_APP, ...tags.map((tag) => `HEAD /v2/${REPOSITORY}/manifests/${tag}`)].toSorted(),
  );
  t.deepEqual(await up(mirror), [1]);
});

test('after the pause we ask once; who comes meanwhile is refused by a bad verdict', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest } = scene;
  const tags = addTags(scene, 20);
  await bringDown(scene);
  await bringBack(scene);
  registry.status('/v2/', 502, always);
  const gate = registry.hold('/v2/', { before: 'headers' });
  const answering = Promise.all(tags.map(async (tag) => manifest(tag)));
  await asking(mirror, 20);
  t.is(registry.requests.length, 1);
  gate.open();
  for (const answer of await answering) {
    t.deepEqual(refusalOf(answer), {
      ...REFUSED,
      message: `${UPSTREAM}: ${registry.host} answered 502, for 10 s`,
      detail: { upstream: UPSTREAM, fault: 'failing', upstreamStatus: 502 },
    });
  }
  t.is(registry.requests.length, 1);
  t.deepEqual(await up(mirror), [0]);
  t.is(said(mirror, 'the upstream is down').length, 1);
});

test('each bad verdict doubles the pause, up to half a minute, and a good one ends that', async (t) => {
  const scene = await startBreakable(t, { timing: { breakerMs: SECOND } });
  const { registry, mirror, manifest, clock } = scene;
  registry.status(/^\/v2\//, 504, always);
  await askOthers(scene);
  await mirror.logged('the upstream is down');
  const heardAfter = async (milliseconds: number): Promise<string[]> => {
    clock.advance(milliseconds);
    registry.clear();
    await manifest('unheld');
    return registry.conversation();
  };
  for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
    t.deepEqual(await heardAfter(seconds * SECOND - 1), [], `before ${seconds} s`);
    t.deepEqual(await heardAfter(1), [PROBE], `after ${seconds} s`);
  }
  registry.heal();
  const unheld = `/v2/${REPOSITORY}/manifests/unheld`;
  t.deepEqual(await heardAfter(30 * SECOND), [PROBE, `HEAD ${unheld}`, `GET ${unheld}`]);
  t.deepEqual(await up(mirror), [1]);
  registry.status(/^\/v2\//, 504, always);
  await askOthers(scene);
  await mirror.logged('the upstream is down', 2);
  t.deepEqual(await heardAfter(SECOND - 1), []);
  t.deepEqual(await heardAfter(1), [PROBE]);
});

test('a clock that is set back does not change the pause', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest, clock } = scene;
  await bringDown(scene);
  await registry.accept();
  t.deepEqual(refusalOf(await manifest('latest')), refusal(registry, 0));
  clock.setBack(72 * HOUR);
  t.deepEqual(refusalOf(await manifest('latest')), refusal(registry, 0));
  clock.advance(PAUSE);
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [PROBE, HEAD_LATEST, GET_APP]);
  t.deepEqual(await up(mirror), [1]);
});

test('our question whose client leaves is still the verdict for all others', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest } = scene;
  const [first = '', second = ''] = addTags(scene, 2);
  await bringDown(scene);
  await bringBack(scene);
  const gate = registry.hold('/v2/', { before: 'headers' });
  const left = new AbortController();
  const leaving = manifest(first, { signal: left.signal });
  await gate.arrived();
  const staying = manifest(second);
  await asking(mirror, 2);
  left.abort();
  await t.throwsAsync(leaving);
  t.is(registry.requests.length, 1);
  gate.open();
  t.is((await staying).status, 200);
  t.deepEqual(await up(mirror), [1]);
});

test('a download in progress goes on after a short outage, in the same answer', async (t) => {
  const scene = await startBreakable(t, { timing: { breakerMs: 5, retryMs: 20 } });
  const { registry, mirror, blob, image, clock } = scene;
  const layer = image.layer(1);
  const gate = registry.hold(layer, { after: 500 });
  const answering = blob(layer);
  await gate.arrived();
  await registry.refuse();
  await mirror.logged('the upstream is down');
  t.deepEqual(await up(mirror), [0]);
  await registry.accept();
  clock.advance(PAUSE);
  const answer: ClientAnswer = await answering;
  t.is(answer.status, 200);
  t.deepEqual(answer.body, layer.bytes);
  t.deepEqual(registry.conversation(), [
    `GET /v2/${REPOSITORY}/blobs/<app.layer1>`,
    PROBE,
    `GET /v2/${REPOSITORY}/blobs/<app.layer1> bytes=500-1999`,
  ]);
  t.deepEqual(await up(mirror), [1]);
});

// What no client can bring about in time

interface Bench {
  readonly breaker: Breaker;
  readonly clock: Clock;
  readonly fail: () => Promise<unknown>;
  readonly probes: PromiseWithResolvers<number>[];
}

function createBreaker(): Bench {
  const clock = new Clock();
  const probes: PromiseWithResolvers<number>[] = [];
  const breaker = new Breaker({
    secrets: new Secrets(),
    upstream: UPSTREAM,
    what: 'upstream',
    host: HOST,
    isAlive: (status) => status < 500,
    probe: async () => {
      const probe = Promise.withResolvers<number>();
      probes.push(probe);
      return probe.promise;
    },
    log: pino({ level: 'silent' }),
    pauseMs: PAUSE,
    clock,
  });
  const ask = async (error: Error): Promise<unknown> =>
    breaker.run(REPOSITORY, async () => Promise.reject(error)).catch((thrown: unknown) => thrown);
  return {
    breaker,
    clock,
    fail: async () => ask(new UpstreamError(UPSTREAM, 'unreachable', 'no route')),
    probes,
  };
}

const NO_ROUTE = new UpstreamError(UPSTREAM, 'unreachable', 'no route');

test('requests that their callers gave up are no failures', async (t) => {
  const { breaker, fail, probes } = createBreaker();
  await fail();
  await fail();
  const left = new DOMException('left', 'AbortError');
  for (let turn = 0; turn < 5; turn += 1) {
    await t.throwsAsync(
      breaker.run(REPOSITORY, async () => Promise.reject(left)),
      { is: left },
    );
  }
  t.is(probes.length, 0);
  await fail();
  t.is(probes.length, 1);
});

test('a question of our own that this machine had no socket for is no verdict', async (t) => {
  const { breaker, fail, probes } = createBreaker();
  for (let turn = 0; turn < 3; turn += 1) await fail();
  const ours = new UpstreamError(UPSTREAM, 'unreachable', 'EMFILE', { isOurs: true });
  const silent = breaker.isSilent();
  probes[0]?.reject(ours);
  t.false(await silent);
  t.is(breaker.problem, undefined);
});

test('failures of requests from before an answer say nothing', async (t) => {
  const { breaker, probes } = createBreaker();
  const late = Array.from({ length: 5 }, () => Promise.withResolvers<never>());
  const early = late.map(async ({ promise }) => breaker.run(REPOSITORY, async () => promise));
  const silent = breaker.isSilent();
  probes[0]?.resolve(200);
  t.false(await silent);
  for (const { reject } of late) reject(NO_ROUTE);
  for (const answer of early) await t.throwsAsync(answer);
  t.is(probes.length, 1);
  t.is(breaker.problem, undefined);
});

test('whether it is silent is asked once for all who want to know, and not while the pause lasts', async (t) => {
  const { breaker, clock, probes } = createBreaker();
  const silent = [breaker.isSilent(), breaker.isSilent()];
  t.is(probes.length, 1);
  probes[0]?.reject(NO_ROUTE);
  t.deepEqual(await Promise.all(silent), [true, true]);
  t.true(await breaker.isSilent());
  t.is(probes.length, 1);
  clock.advance(PAUSE);
  const again = breaker.isSilent();
  t.is(probes.length, 2);
  probes[1]?.resolve(401);
  t.false(await again);
});

test('three blobs whose first byte does not come in time are no outage: /v2/ answers, and so do others', async (t) => {
  const { registry, mirror, image, manifest, blob } = await startBreakable(t, {
    timing: { firstByteMs: 100, attemptsMs: 0 },
    upstream: { hydrate: 'off' },
  });
  t.is((await manifest('latest')).status, 200);
  const slow = [...image.layers, image.config];
  for (const layer of slow) registry.hold(layer, { times: Infinity });
  for (const layer of slow) t.is((await blob(layer)).status, 504);
  await until('nothing is doubted', async () => (await statusOf(mirror))?.state === 'up');
  t.deepEqual(await up(mirror), [1]);
  t.deepEqual(said(mirror, 'the upstream is down'), []);
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=revalidated');
});
