import test from 'ava';
import type { ExecutionContext } from 'ava';
import { Clock, SECOND } from '../helpers/clock.ts';
import type { AuthOptions } from '../helpers/fake-token-server.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import type { UpstreamOptions } from '../helpers/mirror.ts';
import {
  REPOSITORY,
  UPSTREAM,
  idle,
  refusalOf,
  staleWarning,
  startScene,
  told,
  type Scene,
} from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { ExpiringValue, type Issued } from '../../src/upstream/expiring-value.ts';

const SCOPE = `repository:${REPOSITORY}:pull`;
const TOKEN = `GET token ${SCOPE}`;
const POST_TOKEN = `POST token ${SCOPE}`;
const PING = 'GET /v2/';
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;
const USER = { username: 'robot', password: 'pass:word & more' };
const IDENTITY = { provider: 'identity-token', token: 'refresh=me&now' } as const;
const always = { times: Infinity };

async function startGuarded(
  t: ExecutionContext,
  auth: Omit<AuthOptions, 'kind'>,
  credentials: NonNullable<UpstreamOptions['credentials']> = [],
): Promise<Scene> {
  return startScene(t, {
    registry: { auth: { kind: 'bearer', ...auth } },
    upstream: { credentials },
  });
}

interface Asked {
  readonly authorization: string | undefined;
  readonly type: string | undefined;
  readonly query: Record<string, string>;
  readonly form: Record<string, string>;
}

function asked({ requests }: FakeRegistry): Asked[] {
  return requests
    .filter(({ origin }) => origin === 'token')
    .map(({ headers, query, form }) => ({
      authorization: headers.authorization,
      type: headers['content-type'],
      query: Object.fromEntries(query),
      form: Object.fromEntries(form),
    }));
}

// The two forms

test('an identity token is exchanged by POST, as a refresh token', async (t) => {
  const auth = { postForm: true, identityToken: IDENTITY.token, anonymous: false };
  const { registry, manifest } = await startGuarded(t, auth, [IDENTITY]);
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [PING, POST_TOKEN, HEAD_LATEST, GET_APP]);
  t.deepEqual(asked(registry), [
    {
      authorization: undefined,
      type: 'application/x-www-form-urlencoded',
      query: {},
      form: {
        grant_type: 'refresh_token',
        refresh_token: IDENTITY.token,
        client_id: 'entrepot',
        service: 'fake-registry',
        scope: SCOPE,
      },
    },
  ]);
});

test('an identity token that is refused is 403, and no other form is tried', async (t) => {
  const auth = { postForm: true, identityToken: 'another', anonymous: false };
  const { registry, manifest } = await startGuarded(t, auth, [IDENTITY]);
  const answer = await manifest('latest');
  const login = 'answered 401 to the configured credentials: UNAUTHORIZED: unauthorized';
  t.deepEqual(refusalOf(answer), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: the token service ${registry.host} ${login}`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized', upstreamStatus: 401 },
  });
  t.false(answer.body.includes('refresh'));
  t.deepEqual(registry.conversation(), [PING, POST_TOKEN]);
});

test('a password goes by GET with Basic where the service knows that, though it knows POST', async (t) => {
  const { registry, manifest } = await startGuarded(t, { ...USER, postForm: true }, USER);
  t.is((await manifest('latest')).status, 200);
  const basic = Buffer.from(`${USER.username}:${USER.password}`).toString('base64');
  t.deepEqual(asked(registry), [
    {
      authorization: `Basic ${basic}`,
      type: undefined,
      query: { service: 'fake-registry', scope: SCOPE },
      form: {},
    },
  ]);
});

for (const status of [404, 405]) {
  test(`a password goes by POST where GET is ${status}`, async (t) => {
    const { registry, manifest } = await startGuarded(t, { ...USER, postForm: true }, USER);
    registry.status('/token', status, { ...always, method: 'GET' });
    t.is((await manifest('latest')).status, 200);
    t.deepEqual(registry.conversation(), [PING, TOKEN, POST_TOKEN, HEAD_LATEST, GET_APP]);
    t.deepEqual(asked(registry)[1], {
      authorization: undefined,
      type: 'application/x-www-form-urlencoded',
      query: {},
      form: {
        grant_type: 'password',
        ...USER,
        client_id: 'entrepot',
        service: 'fake-registry',
        scope: SCOPE,
      },
    });
  });
}

test('anonymous has no other form: a GET that is 404 is the end', async (t) => {
  const { registry, manifest } = await startGuarded(t, { postForm: true });
  registry.status('/token', 404, always);
  t.is((await manifest('latest')).status, 502);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN]);
});

test('a refused password is not sent by another form', async (t) => {
  const { registry, manifest } = await startGuarded(
    t,
    { ...USER, postForm: true },
    {
      ...USER,
      password: 'wrong',
    },
  );
  t.is((await manifest('latest')).status, 403);
  t.deepEqual(registry.conversation(), [PING, TOKEN]);
});

// One question, however many wait

test('fifty pulls that wait for a token at once ask for one', async (t) => {
  const { registry, mirror, ask, manifest } = await startGuarded(t, USER, USER);
  const images = Array.from({ length: 50 }, (_, turn) =>
    buildImage({ seed: `image ${turn}`, layers: [] }),
  );
  for (const [turn, image] of images.entries()) registry.addImage(REPOSITORY, `v${turn}`, image);
  const gate = registry.hold('/token');
  const answering = Promise.all(images.map(async (_, turn) => manifest(`v${turn}`)));
  // Each pull is two questions: the tag, and its HEAD.
  await until('all wait', () => mirror.server.activity().questions === 100);
  await gate.arrived();
  t.is(registry.conversation((request) => request.origin === 'token').length, 1);
  gate.open();
  for (const [turn, { body }] of (await answering).entries()) {
    t.deepEqual(body, images[turn]?.manifest.bytes);
  }
  t.is(registry.tokensIssued, 1);
  await ask(`/v2/${REPOSITORY}/tags/list`);
  t.is(registry.tokensIssued, 1);
});

for (const how of ['drips', 'is silent'] as const) {
  test(`all who wait for a token service that ${how} past its patience share one new question`, async (t) => {
    const { registry, mirror, manifest, image } = await startScene(t, {
      registry: { auth: { kind: 'bearer', ...USER } },
      upstream: { credentials: USER },
      timing: { patienceMs: 200 },
    });
    const tags = Array.from({ length: 20 }, (_, turn) => `v${turn}`);
    for (const tag of tags) registry.tag(REPOSITORY, tag, image.manifest);
    if (how === 'drips') registry.slow('/token', { bytesPerSecond: 1 });
    else registry.stall('/token');
    for (const { status } of await Promise.all(tags.map(async (tag) => manifest(tag)))) {
      t.is(status, 200);
    }
    t.is(registry.conversation((request) => request.origin === 'token').length, 2);
    await idle(mirror);
  });
}

const LIVES: Readonly<Record<string, readonly [says: unknown, seconds: number]>> = {
  'a time that no clock shows': [1e308, 12 * 3600],
  'a year': [31_536_000, 12 * 3600],
  'less than nothing': [-5, 60],
  'no time': [0, 60],
  'a word': ['soon', 60],
  'a list': [[], 60],
};

for (const [claim, [says, seconds]] of Object.entries(LIVES)) {
  test(`a token that says to live for ${claim} lives for ${seconds} s`, async (t) => {
    const { registry, mirror, manifest, clock } = await startGuarded(t, { expiresIn: 1e6, says });
    await manifest('latest');
    registry.clear();
    // It is renewed after four fifths of its life.
    clock.advance(seconds * 800 - 1);
    await manifest('latest');
    await idle(mirror);
    t.deepEqual(registry.conversation(), [HEAD_LATEST]);
    clock.advance(1);
    await manifest('latest');
    await registry.seen('/token');
    await idle(mirror);
    t.is(registry.conversation().length, 3);
  });
}

// Renewal ahead of the end

test('at four fifths of its life a token is renewed once, behind those who use it', async (t) => {
  const { registry, mirror, manifest, clock, image } = await startGuarded(t, { expiresIn: 300 });
  const tags = Array.from({ length: 20 }, (_, turn) => `v${turn}`);
  for (const tag of tags) registry.tag(REPOSITORY, tag, image.manifest);
  await manifest('latest');
  clock.advance(240 * SECOND);
  registry.clear();
  const gate = registry.hold('/token');
  for (const tag of tags) t.is((await manifest(tag, { method: 'HEAD' })).status, 200);
  await gate.arrived();
  const old = registry.requests.filter(({ origin }) => origin === 'registry');
  t.deepEqual(new Set(old.map(({ headers }) => headers.authorization)).size, 1);
  t.is(registry.requests.length, 21);
  const [renewal] = await registry.seen('/token');
  gate.open();
  await renewal!.finished;
  await idle(mirror);
  clock.advance(61 * SECOND);
  registry.clear();
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  t.not(registry.requests[0]?.headers.authorization, old[0]?.headers.authorization);
});

test('a renewal that fails leaves the old token in use until its end, and is tried every 10 s', async (t) => {
  const { registry, mirror, manifest, clock } = await startGuarded(t, { expiresIn: 300 });
  await manifest('latest');
  registry.status('/token', 500, always);
  /** What is sent for one pull, the renewal behind it included. */
  const heard = async (milliseconds: number, renewals: number): Promise<string[]> => {
    clock.advance(milliseconds);
    registry.clear();
    const answer = await manifest('latest');
    t.is(answer.headers['cache-status'], 'entrepot; hit; detail=revalidated');
    if (renewals > 0) await registry.seen('/token', renewals);
    await idle(mirror);
    return registry.conversation().toSorted();
  };
  t.deepEqual(await heard(240 * SECOND - 1, 0), [HEAD_LATEST]);
  t.deepEqual(await heard(1, 1), [TOKEN, HEAD_LATEST]);
  t.deepEqual(await heard(10 * SECOND - 1, 0), [HEAD_LATEST]);
  t.deepEqual(await heard(1, 1), [TOKEN, HEAD_LATEST]);
  // The last millisecond of its life.
  t.deepEqual(await heard(50 * SECOND - 1, 1), [TOKEN, HEAD_LATEST]);
  clock.advance(1);
  registry.clear();
  t.deepEqual(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; hit; detail=stale',
    age: '0',
    warning: staleWarning(`${UPSTREAM}: the token service ${registry.host} answered 500`),
  });
  t.deepEqual(registry.conversation(), [TOKEN, TOKEN, TOKEN]);
  registry.heal();
  registry.clear();
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=revalidated');
  t.deepEqual(registry.conversation(), [TOKEN, HEAD_LATEST]);
});

test('a token without a named life lives 60 s', async (t) => {
  const { registry, mirror, manifest, clock } = await startGuarded(t, { expiresIn: null });
  await manifest('latest');
  const heard = async (milliseconds: number, renewals: number): Promise<string[]> => {
    clock.advance(milliseconds);
    registry.clear();
    t.is((await manifest('latest')).headers['warning'], undefined);
    if (renewals > 0) await registry.seen('/token', renewals);
    await idle(mirror);
    return registry.conversation();
  };
  t.deepEqual(await heard(48 * SECOND - 1, 0), [HEAD_LATEST]);
  registry.status('/token', 500, { times: 2 });
  t.deepEqual((await heard(1, 1)).toSorted(), [TOKEN, HEAD_LATEST]);
  t.deepEqual((await heard(12 * SECOND - 1, 1)).toSorted(), [TOKEN, HEAD_LATEST]);
  t.deepEqual(await heard(1, 1), [TOKEN, HEAD_LATEST]);
});

test('a shorter life counts as 60 s: it is not renewed before the registry refuses it', async (t) => {
  const { registry, mirror, manifest, clock } = await startGuarded(t, { expiresIn: 10 });
  await manifest('latest');
  clock.advance(10 * SECOND - 1);
  registry.clear();
  await manifest('latest');
  await idle(mirror);
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  clock.advance(1);
  registry.clear();
  await manifest('latest');
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN, HEAD_LATEST]);
});

// What ages, by itself

interface Bench {
  readonly clock: Clock;
  readonly value: ExpiringValue<string>;
  /** The fetches that wait for an answer, oldest first. */
  readonly fetches: PromiseWithResolvers<Issued<string>>[];
}

function createValue(patienceMs?: number): Bench {
  const clock = new Clock();
  const fetches: PromiseWithResolvers<Issued<string>>[] = [];
  const fetch = async (): Promise<Issued<string>> => {
    const fetching = Promise.withResolvers<Issued<string>>();
    fetches.push(fetching);
    return fetching.promise;
  };
  return { clock, fetches, value: new ExpiringValue({ fetch, clock, patienceMs }) };
}

test('whoever waits for a fetch that fails hears of it, and the next one fetches anew', async (t) => {
  const { value, fetches } = createValue();
  const waiting = [value.get(), value.get()];
  t.is(fetches.length, 1);
  fetches[0]?.reject(new Error('no'));
  for (const result of await Promise.allSettled(waiting)) t.is(result.status, 'rejected');
  const next = value.get();
  fetches[1]?.resolve({ value: 'new' });
  t.is(await next, 'new');
});

test('a value without an end is kept until it is dropped, and a stranger drops nothing', async (t) => {
  const { value, fetches, clock } = createValue();
  const first = value.get();
  fetches[0]?.resolve({ value: 'a' });
  t.is(await first, 'a');
  clock.advance(1e12);
  value.drop('b');
  t.is(await value.get(), 'a');
  t.is(value.ageOf('a'), 1e12);
  t.is(value.ageOf('b'), undefined);
  t.is(fetches.length, 1);
  value.drop('a');
  const second = value.get();
  fetches[1]?.resolve({ value: 'c' });
  t.is(await second, 'c');
});

test('a value that ends while it is renewed is waited for, with the same fetch', async (t) => {
  const { value, fetches, clock } = createValue();
  const first = value.get();
  fetches[0]?.resolve({ value: 'a', expiresAt: clock.now() + 100 });
  await first;
  clock.advance(80);
  t.is(await value.get(), 'a');
  t.is(fetches.length, 2);
  clock.advance(20);
  const second = value.get();
  t.is(fetches.length, 2);
  fetches[1]?.resolve({ value: 'b', expiresAt: clock.now() + 100 });
  t.is(await second, 'b');
});
