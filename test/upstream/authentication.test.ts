import test from 'ava';
import type { ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import { Clock, MINUTE, SECOND } from '../helpers/clock.ts';
import { watchDials } from '../helpers/dials.ts';
import type { AuthOptions } from '../helpers/fake-token-server.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import {
  REPOSITORY,
  UPSTREAM,
  refusalOf,
  startScene,
  type Scene,
  type SceneOptions,
} from '../helpers/scene.ts';

const dials = watchDials();

const USER = { username: 'robot', password: 'pass:word' };
const TOKEN = `GET token repository:${REPOSITORY}:pull`;
const PING = 'GET /v2/';
const GET_LATEST = `GET /v2/${REPOSITORY}/manifests/latest`;
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;
const always = { times: Infinity };

/** Each request with what it showed of itself. */
function shown({ requests }: FakeRegistry): string[] {
  return requests.map(
    ({ origin, method, authorization }) => `${origin} ${method} ${authorization}`,
  );
}

async function startGuarded(
  t: ExecutionContext,
  auth: AuthOptions,
  { credentials, ...options }: SceneOptions & { credentials?: typeof USER } = {},
): Promise<Scene> {
  const scene = await startScene(t, {
    ...options,
    registry: { ...options.registry, auth },
    upstream: { ...options.upstream, ...(credentials && { credentials }) },
  });
  return scene;
}

/** Fifty blobs of the scene's repository, asked for at once. */
async function pullFifty({ registry, blob }: Scene, seed: string): Promise<number[]> {
  const blobs = Array.from({ length: 50 }, (_, turn) => `${seed} ${turn}`).map(
    (name) => buildImage({ seed: name, layers: [10] }).config,
  );
  for (const stored of blobs) registry.addBlob(REPOSITORY, stored);
  const answers = await Promise.all(blobs.map(async (stored) => blob(stored, { method: 'HEAD' })));
  return [...new Set(answers.map(({ status }) => status))];
}

// Bearer

test('an anonymous pull answers the challenge with a token for its repository', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'bearer' });
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN, HEAD_LATEST, GET_APP]);
  t.deepEqual(shown(registry), [
    'registry HEAD none',
    'token GET none',
    'registry HEAD bearer:anonymous',
    'registry GET bearer:anonymous',
  ]);
});

test('a pull with credentials shows them to the token service only', async (t) => {
  const { registry, manifest } = await startGuarded(
    t,
    { kind: 'bearer', ...USER },
    { credentials: USER },
  );
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [PING, TOKEN, HEAD_LATEST, GET_APP]);
  t.deepEqual(shown(registry), [
    'registry GET none',
    'token GET basic:robot',
    'registry HEAD bearer:robot',
    'registry GET bearer:robot',
  ]);
});

test('the token is asked for with the service of the challenge and one scope', async (t) => {
  const { registry, manifest } = await startGuarded(t, {
    kind: 'bearer',
    service: 'registry of docker',
  });
  t.is((await manifest('latest')).status, 200);
  const asked = registry.requests.find(({ origin }) => origin === 'token');
  t.deepEqual(
    [...(asked?.query ?? [])],
    [
      ['service', 'registry of docker'],
      ['scope', `repository:${REPOSITORY}:pull`],
    ],
  );
});

test('a realm with a query of its own keeps it', async (t) => {
  const clock = new Clock();
  const probe = await FakeRegistry.start(t, { auth: { kind: 'bearer' }, now: clock.now });
  probe.addImage(REPOSITORY, 'latest', buildImage({ seed: 'x', layers: [1] }));
  const mirror = await startMirror(t, { upstreams: { [UPSTREAM]: { url: probe.url } } });
  probe.status(`/v2/${REPOSITORY}/manifests/latest`, 401, {
    headers: {
      'WWW-Authenticate': `Bearer realm="${probe.url}/token?scope=x&tenant=7",service="fake-registry"`,
    },
  });
  t.is((await get(`${mirror.url}/v2/${REPOSITORY}/manifests/latest`)).status, 200);
  const asked = probe.requests.find(({ origin }) => origin === 'token');
  t.deepEqual(asked?.query.get('tenant'), '7');
  t.deepEqual(asked?.query.getAll('scope'), ['x', `repository:${REPOSITORY}:pull`]);
});

for (const tokenField of ['token', 'access_token'] as const) {
  test(`a token in the field ${tokenField} alone is taken`, async (t) => {
    const { manifest } = await startGuarded(t, { kind: 'bearer', tokenField });
    t.is((await manifest('latest')).status, 200);
  });
}

test('fifty pulls at once ask for one token', async (t) => {
  const scene = await startGuarded(t, { kind: 'bearer' });
  t.deepEqual(await pullFifty(scene, 'cold'), [200]);
  t.is(scene.registry.tokensIssued, 1);
});

test('a token is used again, for manifests and blobs of its repository', async (t) => {
  const { registry, manifest, blob, image } = await startGuarded(t, { kind: 'bearer' });
  await manifest('latest');
  registry.clear();
  t.is((await manifest('latest')).status, 200);
  for (const stored of image.blobs) t.is((await blob(stored)).status, 200);
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    `GET /v2/${REPOSITORY}/blobs/<app.config>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
    `GET /v2/${REPOSITORY}/blobs/<app.layer1>`,
  ]);
  t.is(registry.tokensIssued, 1);
});

test('each repository has a token of its own, asked for before the registry must refuse', async (t) => {
  const { registry, manifest, ask, image } = await startGuarded(t, { kind: 'bearer' });
  registry.addImage('team/app', 'latest', image, { name: 'app' });
  await manifest('latest');
  registry.clear();
  t.is((await ask('/v2/team/app/tags/list')).status, 200);
  t.deepEqual(registry.conversation(), [
    'GET token repository:team/app:pull',
    'GET /v2/team/app/tags/list?n=1000',
  ]);
});

test('a token is renewed at four fifths of its life, behind a request that still uses it', async (t) => {
  const { registry, manifest, clock } = await startGuarded(t, { kind: 'bearer', expiresIn: 300 });
  await manifest('latest');
  clock.advance(240 * SECOND - 1);
  registry.clear();
  await manifest('latest');
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  clock.advance(1);
  registry.clear();
  const gate = registry.hold('/token');
  t.is((await manifest('latest')).status, 200);
  await gate.arrived();
  gate.open();
  t.deepEqual(registry.conversation().toSorted(), [TOKEN, HEAD_LATEST].toSorted());
});

test('a token without a named life is believed for a minute', async (t) => {
  const { registry, manifest, clock } = await startGuarded(t, { kind: 'bearer', expiresIn: null });
  await manifest('latest');
  clock.advance(47 * SECOND);
  registry.clear();
  await manifest('latest');
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
  clock.advance(13 * SECOND);
  registry.clear();
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [TOKEN, HEAD_LATEST]);
});

test('a token that expires before its time is renewed when it is refused', async (t) => {
  const { registry, manifest, clock } = await startGuarded(t, { kind: 'bearer', expiresIn: 10 });
  await manifest('latest');
  clock.advance(30 * SECOND);
  registry.clear();
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN, HEAD_LATEST]);
});

test('a token that is refused midway is renewed once for all who hold it', async (t) => {
  const scene = await startGuarded(t, { kind: 'bearer' });
  await scene.manifest('latest');
  scene.registry.revokeTokens();
  t.deepEqual(await pullFifty(scene, 'revoked'), [200]);
  t.is(scene.registry.tokensIssued, 2);
});

test('a blob whose transfer breaks goes on with a new token when the old one is refused', async (t) => {
  const { registry, blob, image } = await startGuarded(t, { kind: 'bearer' });
  const layer = image.layer(1);
  const gate = registry.hold(layer, { after: 100 });
  registry.cut(layer, { after: 100 });
  const answering = blob(layer);
  await gate.arrived();
  registry.revokeTokens();
  gate.open();
  t.deepEqual((await answering).body, layer.bytes);
  const get = `GET /v2/${REPOSITORY}/blobs/<app.layer1>`;
  const rest = `${get} bytes=100-1999`;
  t.deepEqual(registry.conversation(), [get, TOKEN, get, rest, TOKEN, rest]);
});

test('a token that the registry refuses twice is the end: 403, and no loop', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'bearer', private: [REPOSITORY] });
  const answer = await manifest('latest');
  t.deepEqual(refusalOf(answer), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: ${registry.host} refused access anonymously (401): UNAUTHORIZED: unauthorized`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized', upstreamStatus: 401 },
  });
  t.is(answer.headers['www-authenticate'], undefined);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN, HEAD_LATEST, GET_LATEST]);
});

test('too few rights, refused at once by the token service, are 403', async (t) => {
  const { registry, manifest } = await startGuarded(t, {
    kind: 'bearer',
    private: [REPOSITORY],
    refuses: 'token',
  });
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: the token service ${registry.host} answered 401 to an anonymous request: DENIED: denied`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized', upstreamStatus: 401 },
  });
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN]);
});

test('wrong credentials are 403, and the message says whose', async (t) => {
  const { registry, manifest } = await startGuarded(
    t,
    { kind: 'bearer', ...USER },
    { credentials: { username: 'robot', password: 'wrong' } },
  );
  const answer = await manifest('latest');
  t.deepEqual(refusalOf(answer), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: the token service ${registry.host} answered 401 to the configured credentials: UNAUTHORIZED: unauthorized`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized', upstreamStatus: 401 },
  });
  t.false(answer.body.includes('wrong'));
  t.deepEqual(registry.conversation(), [PING, TOKEN]);
});

test('the secret is in no log line and no answer', async (t) => {
  const credentials = { username: 'robot', password: 'hunter2-secret' };
  const { mirror, manifest, ask } = await startGuarded(
    t,
    { kind: 'bearer', ...USER },
    { credentials },
  );
  const answer = await manifest('latest');
  await ask('/v2/library/app/tags/list');
  const encoded = Buffer.from('robot:hunter2-secret').toString('base64');
  const everything = JSON.stringify([mirror.log, answer.headers, answer.body.toString()]);
  for (const secret of ['hunter2-secret', encoded]) t.false(everything.includes(secret));
});

const TOKEN_FAULTS: [
  claim: string,
  strike: (registry: FakeRegistry) => void,
  status: number,
  cause: string,
][] = [
  ['limits the rate', (registry) => registry.status('/token', 429, always), 429, 'answered 429'],
  ['fails', (registry) => registry.status('/token', 500, always), 502, 'answered 500'],
  ['is not there', (registry) => registry.status('/token', 404, always), 502, 'answered 404'],
  [
    'answers HTML',
    (registry) =>
      registry.status('/token', 200, {
        ...always,
        body: '<h1>Sign in</h1>',
        contentType: 'text/html',
      }),
    502,
    'sent no token',
  ],
  [
    'answers JSON without a token',
    (registry) => registry.status('/token', 200, { ...always, body: '{}' }),
    502,
    'sent no token',
  ],
  [
    'answers null',
    (registry) => registry.status('/token', 200, { ...always, body: 'null' }),
    502,
    'sent no token',
  ],
  [
    'answers a token that would break a header',
    (registry) =>
      registry.status('/token', 200, { ...always, body: '{"token":"a\\r\\nX-Evil: 1"}' }),
    502,
    'sent no token',
  ],
];

for (const [claim, strike, status, cause] of TOKEN_FAULTS) {
  test(`a token service that ${claim} is ${status}, named in the message`, async (t) => {
    const { registry, manifest } = await startGuarded(t, { kind: 'bearer' });
    strike(registry);
    const answer = await manifest('latest');
    const { message } = refusalOf(answer);
    t.is(answer.status, status);
    t.is(message, `${UPSTREAM}: the token service ${registry.host} ${cause}`);
    t.false(answer.body.includes('Sign in'));
  });
}

test('a token service that redirects is not followed: the credentials stay', async (t) => {
  const thief = await FakeRegistry.start(t);
  const { registry, manifest } = await startGuarded(
    t,
    { kind: 'bearer', ...USER },
    { credentials: USER },
  );
  registry.status('/token', 307, { ...always, headers: { Location: `${thief.url}/token` } });
  t.is((await manifest('latest')).status, 502);
  t.is(thief.connections, 0);
});

test('a held tag is served while the token service is refused or down', async (t) => {
  const { registry, manifest, clock, image } = await startGuarded(t, { kind: 'bearer' });
  await manifest('latest');
  clock.advance(10 * MINUTE);
  registry.status('/token', 401, always);
  const answer = await manifest('latest');
  t.is(answer.headers['cache-status'], 'entrepot; hit; detail=stale');
  t.deepEqual(answer.body, image.manifest.bytes);
});

// Basic

test('a Basic challenge is answered with the credentials, and from then on before it is asked', async (t) => {
  const { registry, manifest } = await startGuarded(
    t,
    { kind: 'basic', ...USER },
    { credentials: USER },
  );
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [PING, HEAD_LATEST, GET_APP]);
  t.deepEqual(shown(registry), [
    'registry GET none',
    'registry HEAD basic:robot',
    'registry GET basic:robot',
  ]);
});

test('wrong Basic credentials are 403 after one try', async (t) => {
  const { registry, manifest } = await startGuarded(
    t,
    { kind: 'basic', ...USER },
    { credentials: { username: 'robot', password: 'wrong' } },
  );
  t.is((await manifest('latest')).status, 403);
  registry.clear();
  const answer = await manifest('latest');
  t.deepEqual(refusalOf(answer), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: ${registry.host} refused access with the configured credentials (401): UNAUTHORIZED: unauthorized`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized', upstreamStatus: 401 },
  });
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_LATEST], 'a refused GET says why');
});

test('a Basic challenge without credentials is 403 and says so', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'basic', ...USER });
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: asks for a login and no credentials are configured`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized' },
  });
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('of several challenges Bearer is taken', async (t) => {
  const { registry, manifest } = await startGuarded(
    t,
    { kind: 'bearer', ...USER },
    { credentials: USER },
  );
  registry.status(`/v2/${REPOSITORY}/manifests/latest`, 401, {
    headers: {
      'WWW-Authenticate': `Negotiate, Basic realm="x", Bearer realm="${registry.url}/token",service="fake-registry"`,
    },
  });
  t.is((await manifest('latest')).status, 200);
  t.false(shown(registry).includes('registry HEAD basic:robot'));
});

// A client's own credentials

test('what a client shows of itself does not reach the upstream', async (t) => {
  const { registry, manifest } = await startScene(t);
  const headers = {
    Authorization: 'Basic cG9kOnNlY3JldA==',
    Cookie: 'session=1',
    'Proxy-Authorization': 'Basic eDp5',
  };
  t.is((await manifest('latest', { headers })).status, 200);
  for (const request of registry.requests) {
    t.is(request.headers.authorization, undefined);
    t.is(request.headers.cookie, undefined);
    t.is(request.headers['proxy-authorization'], undefined);
  }
});

// Realms that are not asked: nothing is sent, and the message says why

const REALMS: [
  claim: string,
  realm: (registry: FakeRegistry) => string,
  reason: (realm: URL) => string,
][] = [
  [
    'on a foreign internal host',
    ({ url }) => url.replace('127.0.0.1', 'localhost') + '/token',
    ({ host }) => `token realm ${host} is an internal address of another host`,
  ],
  ['on a foreign host', () => 'https://auth.example/token', () => 'does not belong to'],
  [
    'on a link-local address',
    () => 'http://169.254.77.77/token',
    ({ host }) => `token realm ${host} is an internal address of another host`,
  ],
  [
    'on a private address',
    () => 'http://10.0.0.1/token',
    ({ host }) => `token realm ${host} is an internal address of another host`,
  ],
  [
    'with user information',
    ({ host }) => `http://u:p@${host}/token`,
    () => 'token realm carries user information',
  ],
  ['in a file', () => 'file:///etc/passwd', () => 'is not http or https'],
  ['that is no URL', () => 'nowhere', () => 'its challenge names no token realm'],
];

for (const [claim, realm, reason] of REALMS) {
  test(`a realm ${claim} is refused with the reason, and nothing is sent there`, async (t) => {
    const { registry, manifest } = await startGuarded(
      t,
      { kind: 'bearer', ...USER },
      { credentials: USER },
    );
    const address = realm(registry);
    registry.status(`/v2/${REPOSITORY}/manifests/latest`, 401, {
      ...always,
      headers: { 'WWW-Authenticate': `Bearer realm="${address}",service="fake-registry"` },
    });
    const answer = await manifest('latest');
    const { message, ...rest } = refusalOf(answer);
    t.deepEqual(rest, {
      status: 502,
      code: 'UNAVAILABLE',
      detail: { upstream: UPSTREAM, fault: 'bad-response' },
    });
    const url = URL.canParse(address) ? new URL(address) : new URL('http://x');
    t.true(String(message).includes(reason(url)), String(message));
    t.true(String(message).startsWith(`${UPSTREAM}: `));
    t.deepEqual(registry.conversation(), [PING, TOKEN, HEAD_LATEST]);
    t.deepEqual(dials.outside(), []);
  });
}

test('a token service on another host gets no credential and no request', async (t) => {
  const { registry, manifest } = await startGuarded(
    t,
    { kind: 'bearer', ...USER, realmHost: 'localhost' },
    { credentials: USER },
  );
  t.is((await manifest('latest')).status, 502);
  t.deepEqual(shown(registry), ['registry GET none']);
});

test('a token service on another port of the registry’s own host is asked', async (t) => {
  const scene = await startScene(t, {
    registry: { auth: { kind: 'bearer', ...USER, realmHost: '127.0.0.1' } },
    upstream: { credentials: USER },
  });
  for (const { headers } of scene.registry.requests) t.is(headers.authorization, undefined);
  t.is((await scene.manifest('latest')).status, 200);
  t.deepEqual(shown(scene.registry), [
    'registry GET none',
    'token GET basic:robot',
    'registry HEAD bearer:robot',
    'registry GET bearer:robot',
  ]);
});
