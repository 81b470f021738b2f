import test from 'ava';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { Metrics } from '../../src/observe/metrics.ts';
import { UpstreamError } from '../../src/oci/upstream-error.ts';
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
  return (await server.metrics.upstreamUp.get()).values.map(({ value }) => value);
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

/** Three attempts at one manifest, all refused, with nobody listening any more. */
async function bringDown({ registry, manifest }: Scene): Promise<void> {
  await registry.refuse();
  await manifest('unheld');
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
    message: `${UPSTREAM}: down for ${seconds} s: ${unreachable(registry)}`,
    detail: { upstream: UPSTREAM, fault: 'unreachable' },
  };
}

// What marks an upstream down

interface Failure {
  readonly strike: (registry: FakeRegistry) => unknown;
  readonly heard: number;
  readonly reason: (registry: FakeRegistry) => string;
  readonly fault: string;
  readonly upstreamStatus?: number;
  readonly status: number;
  readonly timing?: SceneOptions['timing'];
}

const answers = (status: number): Failure => ({
  strike: (registry) => registry.status(/^\/v2\//, status, always),
  heard: 3,
  reason: ({ host }) => `${host} answered ${status}`,
  fault: 'failing',
  upstreamStatus: status,
  status: status === 503 ? 503 : 502,
});

const FAILURES: Record<string, Failure> = {
  'refuses connections': {
    strike: async (registry) => registry.refuse(),
    heard: 0,
    reason: unreachable,
    fault: 'unreachable',
    status: 502,
  },
  'does not answer in time': {
    strike: (registry) => registry.hang(/^\/v2\//, always),
    heard: 3,
    reason: ({ host }) => `no answer from ${host} within 1000 ms`,
    fault: 'timeout',
    status: 504,
    timing: { headersMs: 1_000, firstByteMs: 1_000 },
  },
  'answers 502': answers(502),
  'answers 503': answers(503),
  'answers 504': answers(504),
};

for (const [claim, failure] of Object.entries(FAILURES)) {
  test(`an upstream that three times in a row ${claim} is down, and not asked while the pause lasts`, async (t) => {
    const { timing, fault, upstreamStatus } = failure;
    const scene = await startBreakable(t, { ...(timing && { timing }) });
    const { registry, mirror, manifest, blob, image, clock } = scene;
    const reason = failure.reason(registry);
    t.deepEqual(await up(mirror), [1]);
    await failure.strike(registry);
    t.is((await manifest('latest')).status, failure.status);
    t.deepEqual(
      registry.conversation(),
      Array.from({ length: failure.heard }, () => HEAD_LATEST),
    );
    t.deepEqual(await up(mirror), [0]);
    t.deepEqual(said(mirror, 'the upstream is down'), [{ upstream: UPSTREAM, reason }]);
    registry.clear();
    const { connections } = registry;
    clock.advance(4 * SECOND);
    const expected = {
      status: failure.status,
      code: 'UNAVAILABLE',
      message: `${UPSTREAM}: down for 4 s: ${reason}`,
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

test('two failures and an answer, again and again, are no outage', async (t) => {
  const { registry, mirror, manifest } = await startBreakable(t);
  for (let turn = 0; turn < 3; turn += 1) {
    registry.status('latest', 503, { times: 2 });
    t.is((await manifest('latest')).status, 200);
  }
  t.deepEqual(await up(mirror), [1]);
  t.is(registry.conversation((request) => request.status === 503).length, 6);
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

// Held content while it is down

test('a held tag is answered at once, and the probe goes on behind it', async (t) => {
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
  const gate = registry.hold('latest', { before: 'headers' });
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
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  t.deepEqual(await up(mirror), [1]);
  t.deepEqual(said(mirror, 'the upstream answers again'), [{ upstream: UPSTREAM, downMs: 12_000 }]);
  t.is((await manifest('latest')).headers['warning'], undefined);
});

// The test of recovery

test('after the pause one request tests it; who comes meanwhile is served by a good verdict', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest, image } = scene;
  const tags = addTags(scene, 20);
  await bringDown(scene);
  await bringBack(scene);
  const gate = registry.hold(/\/manifests\//, { before: 'headers' });
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
    [GET_APP, ...tags.map((tag) => `HEAD /v2/${REPOSITORY}/manifests/${tag}`)].toSorted(),
  );
  t.deepEqual(await up(mirror), [1]);
});

test('after the pause one request tests it; who comes meanwhile is refused by a bad verdict', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest } = scene;
  const tags = addTags(scene, 20);
  await bringDown(scene);
  await bringBack(scene);
  registry.status(/\/manifests\//, 502, always);
  const gate = registry.hold(/\/manifests\//, { before: 'headers' });
  const answering = Promise.all(tags.map(async (tag) => manifest(tag)));
  await asking(mirror, 20);
  t.is(registry.requests.length, 1);
  gate.open();
  for (const answer of await answering) {
    t.deepEqual(refusalOf(answer), {
      ...REFUSED,
      message: `${UPSTREAM}: down for 10 s: ${registry.host} answered 502`,
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
  registry.status(/\/manifests\//, 504, always);
  await manifest('unheld');
  const heardAfter = async (milliseconds: number): Promise<number> => {
    clock.advance(milliseconds);
    registry.clear();
    await manifest('unheld');
    return registry.requests.length;
  };
  for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
    t.is(await heardAfter(seconds * SECOND - 1), 0, `before ${seconds} s`);
    t.is(await heardAfter(1), 1, `after ${seconds} s`);
  }
  registry.heal();
  t.is(await heardAfter(30 * SECOND), 1);
  t.deepEqual(await up(mirror), [1]);
  registry.status(/\/manifests\//, 504, always);
  t.is(await heardAfter(0), 3);
  t.is(await heardAfter(SECOND - 1), 0);
  t.is(await heardAfter(1), 1);
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
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP]);
  t.deepEqual(await up(mirror), [1]);
});

test('a probe whose client leaves is still the verdict for all others', async (t) => {
  const scene = await startBreakable(t);
  const { registry, mirror, manifest } = scene;
  const [first = '', second = ''] = addTags(scene, 2);
  await bringDown(scene);
  await bringBack(scene);
  const gate = registry.hold(first, { before: 'headers' });
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
    `GET /v2/${REPOSITORY}/blobs/<app.layer1> bytes=500-1999`,
  ]);
  t.deepEqual(await up(mirror), [1]);
});

// What no client can bring about in time: callers that give up in the middle of a request

interface Bench {
  readonly breaker: Breaker;
  readonly clock: Clock;
  readonly fail: () => Promise<unknown>;
  readonly leave: () => Promise<unknown>;
}

function createBreaker(): Bench {
  const clock = new Clock();
  const breaker = new Breaker({
    upstream: UPSTREAM,
    metrics: new Metrics(),
    log: pino({ level: 'silent' }),
    pauseMs: PAUSE,
    clock,
  });
  const ask = async (error: Error): Promise<unknown> =>
    breaker.run(HOST, async () => Promise.reject(error)).catch((thrown: unknown) => thrown);
  return {
    breaker,
    clock,
    fail: async () => ask(new UpstreamError(UPSTREAM, 'unreachable', 'no route')),
    leave: async () => ask(new DOMException('left', 'AbortError')),
  };
}

test('requests that their callers gave up are no failures', async (t) => {
  const { breaker, fail, leave } = createBreaker();
  await fail();
  await fail();
  for (let turn = 0; turn < 5; turn += 1) t.is(((await leave()) as Error).name, 'AbortError');
  t.is(breaker.outage, undefined);
  await fail();
  t.is(breaker.outage?.reason, 'no route');
});

test('a probe that its caller gave up is no verdict: the next request tests', async (t) => {
  const { breaker, clock, fail, leave } = createBreaker();
  for (let turn = 0; turn < 3; turn += 1) await fail();
  clock.advance(PAUSE);
  t.is(((await leave()) as Error).name, 'AbortError');
  let tested = 0;
  await t.throwsAsync(
    breaker.run(HOST, async () => {
      tested += 1;
      throw new UpstreamError(UPSTREAM, 'unreachable', 'no route');
    }),
  );
  t.is(tested, 1);
});

test('who waits for a probe that its caller gave up tests in its place', async (t) => {
  const { breaker, clock, fail } = createBreaker();
  for (let turn = 0; turn < 3; turn += 1) await fail();
  clock.advance(PAUSE);
  const leaving = Promise.withResolvers<never>();
  const probe = breaker.run(HOST, async () => leaving.promise);
  let tested = 0;
  const waiting = breaker.run(HOST, async () => {
    tested += 1;
    return Promise.reject(new UpstreamError(UPSTREAM, 'unreachable', 'tested'));
  });
  leaving.reject(new DOMException('left', 'AbortError'));
  await t.throwsAsync(probe, { name: 'AbortError' });
  await t.throwsAsync(waiting, { message: `${UPSTREAM}: tested` });
  t.is(tested, 1);
});

test('failures of requests from before the outage do not lengthen the pause', async (t) => {
  const { breaker, clock, fail } = createBreaker();
  const [late, later] = [Promise.withResolvers<never>(), Promise.withResolvers<never>()];
  const early = breaker.run(HOST, async () => late.promise);
  const next = breaker.run(HOST, async () => later.promise);
  const probe = Promise.withResolvers<never>();
  const failure = new UpstreamError(UPSTREAM, 'timeout', 'late');
  for (let turn = 0; turn < 3; turn += 1) await fail();
  clock.advance(PAUSE - 1);
  late.reject(failure);
  await t.throwsAsync(early);
  clock.advance(1);
  const probing = breaker.run(HOST, async () => probe.promise);
  later.reject(failure);
  await t.throwsAsync(next);
  probe.reject(new UpstreamError(UPSTREAM, 'unreachable', 'tested'));
  await t.throwsAsync(probing, { message: `${UPSTREAM}: tested` });
  clock.advance(2 * PAUSE - 1);
  t.true(((await fail()) as UpstreamError).isUnasked);
  clock.advance(1);
  t.false(((await fail()) as UpstreamError).isUnasked);
});
