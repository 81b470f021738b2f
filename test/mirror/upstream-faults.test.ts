import test from 'ava';
import type { ExecutionContext } from 'ava';
import { MINUTE } from '../helpers/clock.ts';
import type { ClientAnswer } from '../helpers/client.ts';
import { createCertificates } from '../helpers/certificate.ts';
import type { StatusOptions } from '../helpers/fake-faults.ts';
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
  /** What the registry's own JSON adds to it. */
  readonly words?: string;
  /** A HEAD, which has no words and may be refused alone, is followed by one GET. */
  readonly isReread?: true;
  /** It is also asked by ourselves whether it is there at all. */
  readonly isProbed?: true;
  /** The ping that a request makes besides. */
  readonly ping?: string;
  /** How often the registry hears the same request before its fault is believed. */
  readonly heard: number;
  readonly scene?: SceneOptions;
}

const always = { times: Infinity };

/** A registry's own answer with this status; without a body the usual JSON. */
function answers(status: number, options: Omit<StatusOptions, 'times'> = {}): Fault['strike'] {
  return (registry, kind) => registry.status(kind, status, { ...always, ...options });
}

function page(status: number): Fault['strike'] {
  return answers(status, { body: HTML, contentType: 'text/html' });
}

function said(code: string, message: string): Omit<StatusOptions, 'times'> {
  const body = JSON.stringify({ errors: [{ code, message, detail: 'not for clients' }] });
  return { body, contentType: 'application/json; charset=utf-8' };
}

const HUB_LIMIT =
  'You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit';
const LIMITED = {
  refusal: { status: 429, code: 'TOOMANYREQUESTS', retryAfter: '1' },
  detail: { fault: 'rate-limited', upstreamStatus: 429 },
  cause: (host: string) => `${host} limits the rate of requests (429)`,
  heard: 1,
};

/** 502 but for a 503, which says that the registry itself means to be asked again. */
function failing(status: number): Omit<Fault, 'strike'> {
  return {
    refusal: { status: status === 503 ? 503 : 502, code: 'UNAVAILABLE' },
    detail: { fault: 'failing', upstreamStatus: status },
    cause: (host) => `${host} answered ${status}`,
    heard: 3,
    // A server that is down says nothing of HEAD.
    ...(status === 500 && { isReread: true as const }),
  };
}

function refusing(status: 401 | 403): Omit<Fault, 'strike'> {
  const [fault, verb] = status === 401 ? ['unauthorized', 'refused'] : ['denied', 'denied'];
  return {
    refusal: { status: 403, code: 'DENIED' },
    detail: { fault: fault ?? '', upstreamStatus: status },
    cause: (host) => `${host} ${verb} access anonymously (${status})`,
    heard: 1,
    ...(status === 403 && { isReread: true as const }),
  };
}

const TRUSTED = await createCertificates();
const OTHER = await createCertificates();

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
    cause: (host) => `no answer from ${host} within 1000 ms`,
    heard: 3,
    isProbed: true,
    scene: {
      timing: { headersMs: 1_000, firstByteMs: 1_000 },
      tags: { revalidateTimeoutMs: 20_000 },
    },
  },
  'drops every connection': {
    strike: (registry) => registry.drop(),
    refusal: { status: 502, code: 'UNAVAILABLE' },
    detail: { fault: 'unreachable' },
    cause: (host) => `no connection to ${host} (UND_ERR_SOCKET)`,
    heard: 0,
  },
  'shows a certificate of an unknown authority': {
    strike: async (registry) => registry.changeTls(OTHER.server),
    refusal: { status: 502, code: 'UNAVAILABLE' },
    detail: { fault: 'unreachable' },
    cause: (host) =>
      `the certificate of ${host} is of an authority that is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE); ` +
      'set upstreams.hub.example.tls.ca to the PEM file of that authority',
    heard: 0,
    scene: {
      registry: { tls: TRUSTED.server },
      upstream: { tls: { ca: TRUSTED.ca.toString(), insecure: false } },
    },
  },
  'answers 429 with Retry-After': {
    ...LIMITED,
    strike: answers(429, { headers: { 'Retry-After': '120' } }),
    refusal: { ...LIMITED.refusal, retryAfter: '120' },
    words: 'TOOMANYREQUESTS: toomanyrequests',
  },
  'answers 429 without Retry-After': {
    ...LIMITED,
    strike: answers(429),
    words: 'TOOMANYREQUESTS: toomanyrequests',
  },
  'answers 429 with the words of Docker Hub': {
    ...LIMITED,
    strike: answers(429, said('TOOMANYREQUESTS', HUB_LIMIT)),
    words: `TOOMANYREQUESTS: ${HUB_LIMIT}`,
  },
  'answers a bare 429, as to an abuse': { ...LIMITED, strike: answers(429, { body: '' }) },
  'answers 429 with a page': { ...LIMITED, strike: page(429) },
  'answers 429 as ThrottlingException': {
    ...LIMITED,
    strike: answers(429, said('ThrottlingException', 'Rate exceeded')),
    words: 'ThrottlingException: Rate exceeded',
  },
  'answers 500': { ...failing(500), strike: answers(500), words: 'UNKNOWN: unknown' },
  'answers 500 with a page': { ...failing(500), strike: page(500) },
  'answers 502 with a page': { ...failing(502), strike: page(502) },
  'answers 503': { ...failing(503), strike: answers(503), words: 'UNAVAILABLE: unavailable' },
  'answers 503 with a page': { ...failing(503), strike: page(503) },
  'answers 504 with a page': { ...failing(504), strike: page(504) },
  'answers 504 with its own words': {
    ...failing(504),
    strike: answers(504, said('UNAVAILABLE', 'the\nbackend "x" is late')),
    words: 'UNAVAILABLE: the backend "x" is late',
  },
  'answers 401 with no challenge that can be met': {
    ...refusing(401),
    strike: answers(401),
    detail: { fault: 'unauthorized' },
    cause: () => 'asks for a login in a way that is not Bearer or Basic',
    ping: 'GET /v2/',
  },
  'answers 401 with a challenge for a password': {
    ...refusing(401),
    strike: answers(401, { headers: { 'WWW-Authenticate': 'Basic realm="x"' } }),
    detail: { fault: 'unauthorized' },
    cause: () => 'asks for a login and no credentials are configured',
  },
  'answers 403': { ...refusing(403), strike: answers(403), words: 'DENIED: denied' },
  'answers 403 with a page': { ...refusing(403), strike: page(403) },
  'answers 403 as GHCR': {
    ...refusing(403),
    strike: answers(403, said('DENIED', 'requested access to the resource is denied')),
    words: 'DENIED: requested access to the resource is denied',
  },
  'answers 400': {
    strike: answers(400, said('MANIFEST_INVALID', 'manifest invalid')),
    refusal: { status: 403, code: 'DENIED' },
    detail: { fault: 'refused', upstreamStatus: 400 },
    cause: (host) => `${host} answered 400`,
    words: 'MANIFEST_INVALID: manifest invalid',
    isReread: true,
    heard: 1,
  },
  'answers 418': {
    strike: answers(418),
    refusal: { status: 403, code: 'DENIED' },
    detail: { fault: 'refused', upstreamStatus: 418 },
    cause: (host) => `${host} answered 418`,
    words: 'UNKNOWN: unknown',
    isReread: true,
    heard: 1,
  },
};

function times(count: number, line: string): string[] {
  return Array.from({ length: count }, () => line);
}

/** The requests that one question leads to before its fault is believed. */
function asks({ heard, ping, isReread }: Fault, line: string): string[] {
  if (isReread && line.startsWith('HEAD ')) {
    const get = line.replace('HEAD', 'GET') + (line.includes('/blobs/') ? ' bytes=0-0' : '');
    return [...times(heard, line), get];
  }
  return Array.from({ length: heard }, () => [line, ping ?? []].flat()).flat();
}

/** Without our own question, whether it is there at all. */
function heardBy(registry: FakeRegistry, { isProbed }: Partial<Fault>): string[] {
  return registry.conversation(({ path }) => isProbed !== true || path !== '/v2/');
}

function causeTo(fault: Fault, host: string, method: 'GET' | 'HEAD'): string {
  const { words, isReread } = fault;
  const isTold = words !== undefined && (method === 'GET' || isReread);
  return `${UPSTREAM}: ${fault.cause(host)}${isTold ? `: ${words}` : ''}`;
}

function expectedRefusal(fault: Fault, host: string, method: 'GET' | 'HEAD'): object {
  return {
    ...fault.refusal,
    message: causeTo(fault, host, method),
    detail: { upstream: UPSTREAM, ...fault.detail },
  };
}

/** What a HEAD shows of a refusal, too; nothing of a page and no challenge gets through. */
function refusesBare(t: ExecutionContext, { refusal }: Fault, answer: ClientAnswer): void {
  t.is(answer.status, refusal.status);
  t.is(answer.headers['retry-after'], refusal.retryAfter);
  t.is(answer.headers['www-authenticate'], undefined);
  t.is(answer.headers['warning'], undefined);
  t.false(answer.body.includes('<'));
}

const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_LATEST = `GET /v2/${REPOSITORY}/manifests/latest`;

for (const [claim, fault] of Object.entries(FAULTS)) {
  for (const method of ['GET', 'HEAD']) {
    test.serial(
      `error fidelity: ${method} of a held tag is answered from its copy, and says so, when the upstream ${claim}`,
      async (t) => {
        const { registry, manifest, image, clock } = await startScene(t, fault.scene);
        await manifest('latest');
        registry.clear();
        clock.advance(10 * MINUTE);
        const { host } = registry;
        await fault.strike(registry, /\/manifests\//);
        const answer = await manifest('latest', { method });
        t.deepEqual(told(answer), {
          status: 200,
          cache: 'entrepot; hit; detail=stale',
          age: '600',
          warning: staleWarning(causeTo(fault, host, 'HEAD')),
        });
        t.deepEqual(answer.body, method === 'GET' ? image.manifest.bytes : Buffer.alloc(0));
        t.is(answer.headers['docker-content-digest'], image.manifest.digest);
        t.is(answer.headers['content-type'], image.manifest.mediaType);
        t.is(answer.headers['content-length'], String(image.manifest.size));
        t.deepEqual(heardBy(registry, fault), asks(fault, HEAD_LATEST));
      },
    );
  }

  test.serial(
    `error fidelity: a held digest is answered and nobody asked when the upstream ${claim}`,
    async (t) => {
      const { registry, manifest, image } = await startScene(t, fault.scene);
      await manifest('latest');
      registry.clear();
      await fault.strike(registry, /\/manifests\//);
      const answer = await manifest(image.manifest.digest);
      t.deepEqual(told(answer), { status: 200, cache: 'entrepot; hit', age: '0' });
      t.deepEqual(answer.body, image.manifest.bytes);
      t.deepEqual(registry.conversation(), []);
    },
  );

  test.serial(
    `error fidelity: a tag that is not held is refused truly when the upstream ${claim}`,
    async (t) => {
      for (const method of ['GET', 'HEAD'] as const) {
        const { registry, manifest } = await startScene(t, fault.scene);
        const { host } = registry;
        await fault.strike(registry, /\/manifests\//);
        const answer = await manifest('latest', { method });
        // The mirror asks for tags by HEAD.
        if (method === 'GET') t.deepEqual(refusalOf(answer), expectedRefusal(fault, host, 'HEAD'));
        refusesBare(t, fault, answer);
        t.deepEqual(heardBy(registry, fault), asks(fault, HEAD_LATEST));
      }
    },
  );

  test.serial(
    `error fidelity: a digest that is not held is refused truly when the upstream ${claim}`,
    async (t) => {
      for (const method of ['GET', 'HEAD'] as const) {
        const { registry, manifest, image } = await startScene(t, fault.scene);
        const { host } = registry;
        await fault.strike(registry, /\/manifests\//);
        const answer = await manifest(image.manifest.digest, { method });
        if (method === 'GET') t.deepEqual(refusalOf(answer), expectedRefusal(fault, host, 'GET'));
        refusesBare(t, fault, answer);
        const line = `${method} /v2/${REPOSITORY}/manifests/<app>`;
        t.deepEqual(heardBy(registry, fault), asks(fault, line));
      }
    },
  );

  test.serial(
    `error fidelity: a blob is served when held, and refused truly when not, when the upstream ${claim}`,
    async (t) => {
      for (const method of ['GET', 'HEAD'] as const) {
        const { registry, mirror, blob, image } = await startScene(t, fault.scene);
        const held = image.layer(1);
        await blob(held);
        await idle(mirror);
        registry.clear();
        const { host } = registry;
        await fault.strike(registry, /\/blobs\//);
        const found = await blob(held, { method });
        t.deepEqual(told(found), { status: 200, cache: 'entrepot; hit' });
        t.deepEqual(found.body, method === 'GET' ? held.bytes : Buffer.alloc(0));
        t.deepEqual(registry.conversation(), []);
        const answer = await blob(image.layer(0), { method });
        if (method === 'GET') t.deepEqual(refusalOf(answer), expectedRefusal(fault, host, 'GET'));
        refusesBare(t, fault, answer);
        const line = `${method} /v2/${REPOSITORY}/blobs/<app.layer0>`;
        t.deepEqual(heardBy(registry, fault), asks(fault, line));
      }
    },
  );
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
  // The page was all that GET brought too.
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_LATEST, HEAD_LATEST, GET_LATEST]);
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
    GET_LATEST,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
    HEAD_LATEST,
    GET_LATEST,
    `HEAD /v2/${REPOSITORY}/manifests/<app>`,
    `GET /v2/${REPOSITORY}/manifests/<app>`,
    `HEAD /v2/${REPOSITORY}/blobs/<app.layer0>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0> bytes=0-0`,
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

for (const where of ['before its headers', 'in the body of the manifest that it moved to']) {
  test(`a held tag is answered while the upstream hangs ${where}`, async (t) => {
    const { registry, manifest, image } = await startScene(t, {
      tags: { revalidateTimeoutMs: 40 },
    });
    await manifest('latest');
    const isMoved = where !== 'before its headers';
    const moved = buildImage({ seed: 'moved', layers: [10] });
    if (isMoved) registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
    registry.clear();
    const gate = isMoved ? registry.stall(moved.manifest, { after: 10 }) : registry.hang('latest');
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
    const fetched = isMoved ? [`GET /v2/${REPOSITORY}/manifests/<moved>`] : [];
    t.deepEqual(heardBy(registry, { isProbed: true }), [HEAD_LATEST, ...fetched]);
  });
}

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
  t.deepEqual(heardBy(registry, { isProbed: true }), [
    HEAD_LATEST,
    `GET /v2/${REPOSITORY}/manifests/<moved>`,
  ]);
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
  t.deepEqual(heardBy(registry, { isProbed: true }), [HEAD_LATEST]);
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
  t.deepEqual(heardBy(registry, { isProbed: true }), [
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
    warning: staleWarning(
      `${UPSTREAM}: ${registry.host} limits the rate of requests (429): TOOMANYREQUESTS: toomanyrequests`,
    ),
  });
  t.deepEqual(held.body, image.manifest.bytes);
  t.like(refusalOf(await manifest(moved.manifest.digest)), {
    status: 429,
    code: 'TOOMANYREQUESTS',
    retryAfter: '900',
  });
  // What is left is known by then: none, so the second one is not asked for.
  t.deepEqual(registry.conversation(), [HEAD_LATEST, `GET /v2/${REPOSITORY}/manifests/<moved>`]);
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
