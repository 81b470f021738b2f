import test from 'ava';
import type { ExecutionContext } from 'ava';
import { MINUTE } from '../helpers/clock.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import {
  REPOSITORY,
  UPSTREAM,
  idle,
  refusalOf,
  staleWarning,
  startScene,
  told,
  type SceneOptions,
} from '../helpers/scene.ts';

const HTML = '<!doctype html><h1>Sign in to this network</h1>';

/** One way in which an upstream fails, and what clients must hear of it. */
interface Fault {
  /** Makes requests of this kind fail from now on. */
  readonly strike: (registry: FakeRegistry, kind: RegExp) => unknown;
  /** The refusal of what is not held, without its message. */
  readonly refusal: { status: number; code: string; retryAfter?: string };
  readonly detail: { fault: string; upstreamStatus?: number };
  /** The message behind the upstream's name. */
  readonly cause: (host: string) => string;
  /** How often the registry hears the same request before its fault is believed. */
  readonly heard: number;
  readonly scene?: SceneOptions;
}

const always = { times: Infinity };

const FAULTS: Record<string, Fault> = {
  'is down': {
    strike: async (registry) => registry.refuse(),
    refusal: { status: 502, code: 'UNAVAILABLE' },
    detail: { fault: 'unreachable' },
    cause: (host) => `no connection to ${host} (ECONNREFUSED)`,
    heard: 0,
  },
  'hangs before its headers': {
    strike: (registry, kind) => registry.hang(kind, always),
    refusal: { status: 504, code: 'UNAVAILABLE' },
    detail: { fault: 'timeout' },
    cause: (host) => `no answer from ${host} within 500 ms`,
    heard: 3,
    scene: { timing: { headersMs: 500 }, tags: { revalidateTimeoutMs: 20_000 } },
  },
  'answers 429 with Retry-After': {
    strike: (registry, kind) =>
      registry.status(kind, 429, { ...always, headers: { 'Retry-After': '120' } }),
    refusal: { status: 429, code: 'TOOMANYREQUESTS', retryAfter: '120' },
    detail: { fault: 'rate-limited', upstreamStatus: 429 },
    cause: (host) => `${host} limits the rate of requests (429)`,
    heard: 1,
  },
  'answers 429 without Retry-After': {
    strike: (registry, kind) => registry.status(kind, 429, always),
    refusal: { status: 429, code: 'TOOMANYREQUESTS', retryAfter: '60' },
    detail: { fault: 'rate-limited', upstreamStatus: 429 },
    cause: (host) => `${host} limits the rate of requests (429)`,
    heard: 1,
  },
  'answers 500': {
    strike: (registry, kind) => registry.status(kind, 500, always),
    refusal: { status: 502, code: 'UNAVAILABLE' },
    detail: { fault: 'failing', upstreamStatus: 500 },
    cause: (host) => `${host} answered 500`,
    heard: 3,
  },
  'answers 503': {
    strike: (registry, kind) => registry.status(kind, 503, always),
    refusal: { status: 503, code: 'UNAVAILABLE' },
    detail: { fault: 'failing', upstreamStatus: 503 },
    cause: (host) => `${host} answered 503`,
    heard: 3,
  },
  'answers 504 with an HTML page': {
    strike: (registry, kind) =>
      registry.status(kind, 504, { ...always, body: HTML, contentType: 'text/html' }),
    refusal: { status: 502, code: 'UNAVAILABLE' },
    detail: { fault: 'failing', upstreamStatus: 504 },
    cause: (host) => `${host} answered 504`,
    heard: 3,
  },
  'answers 401 with no challenge that can be met': {
    strike: (registry, kind) => registry.status(kind, 401, always),
    refusal: { status: 403, code: 'DENIED' },
    detail: { fault: 'unauthorized' },
    cause: () => 'asks for a login in a way that is not Bearer or Basic',
    heard: 1,
  },
  'answers 403': {
    strike: (registry, kind) => registry.status(kind, 403, always),
    refusal: { status: 403, code: 'DENIED' },
    detail: { fault: 'denied', upstreamStatus: 403 },
    cause: (host) => `${host} denied access anonymously (403)`,
    heard: 1,
  },
  'answers 418': {
    strike: (registry, kind) => registry.status(kind, 418, always),
    refusal: { status: 502, code: 'UNAVAILABLE' },
    detail: { fault: 'bad-response', upstreamStatus: 418 },
    cause: (host) => `${host} answered 418`,
    heard: 1,
  },
};

function times(count: number, line: string): string[] {
  return Array.from({ length: count }, () => line);
}

function expectedRefusal(fault: Fault, host: string): Record<string, unknown> {
  return {
    ...fault.refusal,
    message: `${UPSTREAM}: ${fault.cause(host)}`,
    detail: { upstream: UPSTREAM, ...fault.detail },
  };
}

const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;

for (const [claim, fault] of Object.entries(FAULTS)) {
  test(`a held tag is answered from its copy, and says so, when the upstream ${claim}`, async (t) => {
    const { registry, manifest, image, clock } = await startScene(t, fault.scene);
    await manifest('latest');
    registry.clear();
    clock.advance(10 * MINUTE);
    const { host } = registry;
    await fault.strike(registry, /\/manifests\//);
    for (const method of ['GET', 'HEAD']) {
      const answer = await manifest('latest', { method });
      t.deepEqual(told(answer), {
        status: 200,
        cache: 'entrepot; hit; detail=stale',
        age: '600',
        warning: staleWarning(`${UPSTREAM}: ${fault.cause(host)}`),
      });
      t.deepEqual(answer.body, method === 'GET' ? image.manifest.bytes : Buffer.alloc(0));
      t.is(answer.headers['docker-content-digest'], image.manifest.digest);
      t.is(answer.headers['content-type'], image.manifest.mediaType);
      t.is(answer.headers['content-length'], String(image.manifest.size));
    }
    t.deepEqual(registry.conversation(), times(2 * fault.heard, HEAD_LATEST));
  });

  test(`a manifest that is not held is refused truly when the upstream ${claim}`, async (t) => {
    const { registry, manifest, image } = await startScene(t, fault.scene);
    const { host } = registry;
    await fault.strike(registry, /\/manifests\//);
    const byTag = await manifest('latest');
    t.deepEqual(refusalOf(byTag), expectedRefusal(fault, host));
    t.is(byTag.headers['www-authenticate'], undefined);
    const head = await manifest('latest', { method: 'HEAD' });
    t.is(head.status, fault.refusal.status);
    t.is(head.headers['retry-after'], fault.refusal.retryAfter);
    const byDigest = await manifest(image.manifest.digest);
    t.deepEqual(refusalOf(byDigest), expectedRefusal(fault, host));
    t.deepEqual(registry.conversation(), [
      ...times(2 * fault.heard, HEAD_LATEST),
      ...times(fault.heard, `GET /v2/${REPOSITORY}/manifests/<app>`),
    ]);
  });

  test(`a blob is served when held, and refused truly when not, when the upstream ${claim}`, async (t) => {
    const { registry, mirror, blob, image } = await startScene(t, fault.scene);
    const held = image.layer(1);
    await blob(held);
    await idle(mirror);
    registry.clear();
    const { host } = registry;
    await fault.strike(registry, /\/blobs\//);
    const answer = await blob(held);
    t.deepEqual(told(answer), { status: 200, cache: 'entrepot; hit' });
    t.deepEqual(answer.body, held.bytes);
    t.is((await blob(held, { method: 'HEAD' })).status, 200);
    t.deepEqual(registry.conversation(), []);
    t.deepEqual(refusalOf(await blob(image.layer(0))), expectedRefusal(fault, host));
    const head = await blob(image.layer(0), { method: 'HEAD' });
    t.is(head.status, fault.refusal.status);
    t.is(head.headers['retry-after'], fault.refusal.retryAfter);
    t.deepEqual(registry.conversation(), [
      ...times(fault.heard, `GET /v2/${REPOSITORY}/blobs/<app.layer0>`),
      ...times(fault.heard, `HEAD /v2/${REPOSITORY}/blobs/<app.layer0>`),
    ]);
  });
}

// A page of HTML with status 200: a captive portal, a sign-in page, a proxy's apology

/** All that a portal lets through is its page, for GET and for HEAD. */
function closePortal(registry: FakeRegistry): void {
  registry.status(/^\/v2\//, 200, { ...always, body: HTML, contentType: 'text/html' });
}

function portalRefusal({ host }: FakeRegistry): Record<string, unknown> {
  return {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: ${host} sent an HTML page`,
    detail: { upstream: UPSTREAM, fault: 'bad-response', upstreamStatus: 200 },
  };
}

test('a held tag is answered from its copy when a portal answers HTML with 200', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  await manifest('latest');
  registry.clear();
  closePortal(registry);
  for (const method of ['GET', 'HEAD']) {
    const answer = await manifest('latest', { method });
    t.deepEqual(told(answer), {
      status: 200,
      cache: 'entrepot; hit; detail=stale',
      age: '0',
      warning: staleWarning(`${UPSTREAM}: ${registry.host} sent an HTML page`),
    });
    t.is(answer.headers['docker-content-digest'], image.manifest.digest);
  }
  t.deepEqual(registry.conversation(), [HEAD_LATEST, HEAD_LATEST]);
});

test('what is not held is 502 when a portal answers HTML with 200, and its page is not passed on', async (t) => {
  const { registry, manifest, blob, image } = await startScene(t);
  closePortal(registry);
  const refusal = portalRefusal(registry);
  t.deepEqual(refusalOf(await manifest('latest')), refusal);
  t.deepEqual(refusalOf(await manifest(image.manifest.digest)), refusal);
  t.deepEqual(refusalOf(await blob(image.layer(0))), refusal);
  t.is((await manifest('latest', { method: 'HEAD' })).status, 502);
  t.is((await manifest(image.manifest.digest, { method: 'HEAD' })).status, 502);
  t.is((await blob(image.layer(0), { method: 'HEAD' })).status, 502);
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
    HEAD_LATEST,
    `HEAD /v2/${REPOSITORY}/manifests/<app>`,
    `HEAD /v2/${REPOSITORY}/blobs/<app.layer0>`,
  ]);
});

test('a portal that answers GET with a page is caught where HEAD looked right', async (t) => {
  const { registry, manifest } = await startScene(t);
  const page = { ...always, method: 'GET', body: HTML, contentType: 'text/html' } as const;
  registry.status(/^\/v2\//, 200, page);
  t.deepEqual(refusalOf(await manifest('latest')), portalRefusal(registry));
  t.deepEqual(registry.conversation(), [HEAD_LATEST, `GET /v2/${REPOSITORY}/manifests/<app>`]);
});

test('the page behind a redirect to a sign-in page is no content either', async (t) => {
  const { registry, manifest, blob, image } = await startScene(t);
  registry.status(/^\/v2\//, 302, { ...always, headers: { Location: '/sign-in' } });
  registry.status('/sign-in', 200, { ...always, body: HTML, contentType: 'text/html' });
  const answers = [
    await manifest('latest'),
    await manifest('latest', { method: 'HEAD' }),
    await blob(image.layer(0)),
    await blob(image.layer(0), { method: 'HEAD' }),
  ];
  t.deepEqual(
    answers.map(({ status }) => status),
    [502, 502, 502, 502],
  );
  t.false(answers.some(({ body }) => body.includes('Sign in')));
});

// The deadline of a held tag

test('a held tag is answered while the upstream still hangs before its headers', async (t) => {
  const { registry, manifest, image } = await startScene(t, { tags: { revalidateTimeoutMs: 40 } });
  await manifest('latest');
  registry.clear();
  const gate = registry.hang('latest');
  const answering = manifest('latest');
  await gate.arrived();
  const answer = await answering;
  t.is(gate.waiting, 1);
  t.deepEqual(told(answer), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '0',
    warning: staleWarning(`${UPSTREAM}: no answer within 40 ms`),
  });
  t.deepEqual(answer.body, image.manifest.bytes);
  gate.open();
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('a held tag is answered while the manifest it moved to hangs in its body', async (t) => {
  const { registry, manifest, image } = await startScene(t, { tags: { revalidateTimeoutMs: 40 } });
  await manifest('latest');
  const moved = buildImage({ seed: 'moved', layers: [10] });
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  registry.clear();
  const gate = registry.stall(moved.manifest, { after: 10 });
  const answering = manifest('latest');
  await gate.arrived();
  const answer = await answering;
  t.is(gate.waiting, 1);
  t.deepEqual(told(answer), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '0',
    warning: staleWarning(`${UPSTREAM}: no answer within 40 ms`),
  });
  t.deepEqual(answer.body, image.manifest.bytes);
  gate.open();
  t.deepEqual(registry.conversation(), [HEAD_LATEST, `GET /v2/${REPOSITORY}/manifests/<moved>`]);
});

test('the question outlives the deadline: its late answer counts for the next client', async (t) => {
  const { registry, mirror, manifest, clock } = await startScene(t, {
    tags: { ttlMs: MINUTE, revalidateTimeoutMs: 40 },
  });
  await manifest('latest');
  const moved = buildImage({ seed: 'moved', layers: [10] });
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  registry.clear();
  clock.advance(2 * MINUTE);
  const gate = registry.hold('latest', { before: 'headers' });
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=stale');
  await gate.arrived();
  gate.open();
  await idle(mirror);
  const next = await manifest('latest');
  t.deepEqual(told(next), { status: 200, cache: 'entrepot; hit', age: '0' });
  t.deepEqual(next.body, moved.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, `GET /v2/${REPOSITORY}/manifests/<moved>`]);
});

test('clients that come while the upstream hangs share one question', async (t) => {
  const { registry, manifest } = await startScene(t, { tags: { revalidateTimeoutMs: 40 } });
  await manifest('latest');
  registry.clear();
  const gate = registry.hang('latest', always);
  const answering = Promise.all(Array.from({ length: 5 }, async () => manifest('latest')));
  await gate.arrived();
  const answers = await answering;
  t.deepEqual(
    answers.map(({ headers }) => headers['cache-status']),
    times(5, 'entrepot; hit; detail=stale'),
  );
  t.is(gate.waiting, 1);
  gate.open();
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('a manifest that is not held and hangs in its body is 504', async (t) => {
  const { registry, manifest, image } = await startScene(t, { timing: { stallMs: 300 } });
  registry.stall(image.manifest, { after: 10, ...always });
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 504,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: no byte from ${registry.host} for 300 ms`,
    detail: { upstream: UPSTREAM, fault: 'timeout' },
  });
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    ...times(3, `GET /v2/${REPOSITORY}/manifests/<app>`),
  ]);
});

// Faults that pass

test('an upstream that fails once is asked again, and the client hears nothing of it', async (t) => {
  const { registry, manifest, blob, image } = await startScene(t);
  registry.status('latest', 500);
  registry.cut(image.manifest, { after: 'request', method: 'GET' });
  registry.status(image.layer(0), 503);
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual((await blob(image.layer(0))).body, image.layer(0).bytes);
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    HEAD_LATEST,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
  ]);
});

test('a manifest whose body breaks off once is fetched again', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  registry.cut(image.manifest, { after: 10 });
  const answer = await manifest('latest');
  t.is(answer.status, 200);
  t.deepEqual(answer.body, image.manifest.bytes);
});

test('what failed is not remembered: the next client asks anew', async (t) => {
  const { registry, manifest, blob, image } = await startScene(t, {
    tags: { negativeTtlMs: MINUTE },
  });
  await registry.refuse();
  t.is((await manifest('latest')).status, 502);
  t.is((await blob(image.layer(0))).status, 502);
  await registry.accept();
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual((await blob(image.layer(0))).body, image.layer(0).bytes);
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
  ]);
});

test('Docker Hub, out of pulls: HEAD is free, so a tag that did not move is confirmed', async (t) => {
  const { registry, manifest } = await startScene(t);
  await manifest('latest');
  registry.clear();
  registry.rateLimit({ limit: 100, remaining: 0 });
  t.deepEqual(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; hit; detail=revalidated',
    age: '0',
  });
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('Docker Hub, out of pulls: a tag that moved keeps its copy, one not held is 429', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  await manifest('latest');
  const moved = buildImage({ seed: 'moved', layers: [10] });
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  registry.clear();
  registry.rateLimit({ limit: 100, remaining: 0 });
  const held = await manifest('latest');
  t.deepEqual(told(held), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '0',
    warning: staleWarning(`${UPSTREAM}: ${registry.host} limits the rate of requests (429)`),
  });
  t.deepEqual(held.body, image.manifest.bytes);
  t.like(refusalOf(await manifest(moved.manifest.digest)), {
    status: 429,
    code: 'TOOMANYREQUESTS',
    retryAfter: '60',
  });
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    `GET /v2/${REPOSITORY}/manifests/<moved>`,
    `GET /v2/${REPOSITORY}/manifests/<moved>`,
  ]);
});

test('the image of a held tag pulls whole with the upstream gone', async (t) => {
  const { registry, mirror, manifest, blob, image } = await startScene(t);
  await pull(t, { manifest, blob, image });
  await idle(mirror);
  registry.clear();
  await registry.refuse();
  await pull(t, { manifest, blob, image });
  t.deepEqual(registry.conversation(), []);
});

async function pull(
  t: ExecutionContext,
  {
    manifest,
    blob,
    image,
  }: Pick<Awaited<ReturnType<typeof startScene>>, 'manifest' | 'blob' | 'image'>,
): Promise<void> {
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  for (const stored of image.blobs) t.deepEqual((await blob(stored)).body, stored.bytes);
}
