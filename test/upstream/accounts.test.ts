import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { Clock, SECOND } from '../helpers/clock.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { startMirror, type TestMirror } from '../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM, refusalOf } from '../helpers/scene.ts';
import { serve } from '../helpers/serve.ts';

/** What one user may do. */
interface Limit {
  remaining?: number;
  /** Every request is 429 with this `Retry-After`, or `without a word`. */
  refused?: string;
}

/** A registry with two users, `first` and `second`, who have limits of their own. */
class TwoUsers {
  readonly requests: string[] = [];
  readonly limits: Record<string, Limit> = { first: {}, second: {} };
  readonly image: Image = buildImage({ seed: 'app', layers: [10] });
  url = '';
  readonly #scheme: 'Basic' | 'Bearer';
  readonly #tokens = new Map<string, string>();

  constructor(scheme: 'Basic' | 'Bearer') {
    this.#scheme = scheme;
  }

  static async start(t: ExecutionContext, scheme: 'Basic' | 'Bearer'): Promise<TwoUsers> {
    const registry = new TwoUsers(scheme);
    const server = createServer((request, response) => registry.#answer(request, response));
    registry.url = (await serve(t, server)).origin;
    return registry;
  }

  get host(): string {
    return new URL(this.url).host;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = request;
    const [scheme = 'none', value = ''] = (headers.authorization ?? 'none').split(' ');
    const proof = scheme === 'Basic' ? Buffer.from(value, 'base64').toString() : value;
    const path = new URL(url, this.url).pathname;
    const what = path
      .replace(`/v2/${REPOSITORY}/manifests/`, '')
      .replace(this.image.manifest.digest, '<app>');
    this.requests.push(`${method} ${what} ${scheme}${proof === '' ? '' : ` ${proof}`}`);
    if (path === '/token') return this.#issue(response, proof);
    const user = scheme === 'Basic' ? proof.split(':')[0] : this.#tokens.get(proof);
    const limit = scheme === this.#scheme ? this.limits[user ?? ''] : undefined;
    if (!limit) return this.#challenge(response);
    if (limit.refused !== undefined) {
      const isSilent = limit.refused === 'without a word';
      response.writeHead(429, isSilent ? {} : { 'Retry-After': limit.refused }).end();
      return;
    }
    this.#give(method, response, limit);
  }

  #give(method: string, response: ServerResponse, limit: Limit): void {
    const { manifest } = this.image;
    if (limit.remaining !== undefined && method === 'GET') limit.remaining -= 1;
    response.writeHead(200, {
      'Content-Type': manifest.mediaType,
      'Content-Length': manifest.size,
      'Docker-Content-Digest': manifest.digest,
      ...(limit.remaining !== undefined && {
        'RateLimit-Limit': '100;w=21600',
        'RateLimit-Remaining': `${limit.remaining};w=21600`,
      }),
    });
    response.end(method === 'GET' ? manifest.bytes : undefined);
  }

  #issue(response: ServerResponse, proof: string): void {
    const user = proof.split(':')[0] ?? '';
    const token = `token-${this.#tokens.size + 1}-of-${user}`;
    this.#tokens.set(token, user);
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ token, expires_in: 300 }));
  }

  #challenge(response: ServerResponse): void {
    const bearer = `Bearer realm="${this.url}/token",service="two"`;
    const header = this.#scheme === 'Basic' ? 'Basic realm="two"' : bearer;
    response.writeHead(401, { 'WWW-Authenticate': header }).end();
  }
}

interface Scene {
  readonly registry: TwoUsers;
  readonly mirror: TestMirror;
  readonly clock: Clock;
  readonly manifest: (tag: string, method?: 'GET' | 'HEAD') => Promise<ClientAnswer>;
  /** The requests since the last call. */
  readonly heard: () => string[];
}

async function startTwo(t: ExecutionContext, scheme: 'Basic' | 'Bearer'): Promise<Scene> {
  const registry = await TwoUsers.start(t, scheme);
  const clock = new Clock();
  const mirror = await startMirror(t, {
    clock,
    upstreams: {
      [UPSTREAM]: {
        url: registry.url,
        credentials: ['first', 'second'].map((username) => ({
          provider: 'password',
          username,
          password: `secret-${username}`,
        })),
      },
    },
  });
  return {
    registry,
    mirror,
    clock,
    manifest: async (tag, method = 'GET') =>
      get(`${mirror.url}/v2/${REPOSITORY}/manifests/${tag}`, { method }),
    heard: () => registry.requests.splice(0),
  };
}

const FIRST = 'Basic first:secret-first';
const SECOND_USER = 'Basic second:secret-second';

test('two credentials for one realm never share a token', async (t) => {
  const { registry, manifest, heard } = await startTwo(t, 'Bearer');
  registry.limits['first'] = { remaining: 10 };
  registry.limits['second'] = { remaining: 80 };
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(heard(), [
    'GET /v2/ none',
    `GET /token ${FIRST}`,
    'HEAD latest Bearer token-1-of-first',
    // Of the second nothing is known: that may be more.
    `GET /token ${SECOND_USER}`,
    'GET <app> Bearer token-2-of-second',
  ]);
  registry.limits['second'] = { refused: '60' };
  t.is((await manifest('other', 'HEAD')).status, 200);
  t.deepEqual(heard(), [
    'HEAD other Bearer token-2-of-second',
    'HEAD other Bearer token-1-of-first',
  ]);
});

test('the credential with more left is used, as the answers tell it', async (t) => {
  const { registry, manifest, heard } = await startTwo(t, 'Basic');
  registry.limits['first'] = { remaining: 50 };
  registry.limits['second'] = { remaining: 70 };
  await manifest('v1', 'HEAD');
  await manifest('v2', 'HEAD');
  t.deepEqual(heard(), ['GET /v2/ none', `HEAD v1 ${FIRST}`, `HEAD v2 ${SECOND_USER}`]);
  await manifest('v3', 'HEAD');
  t.deepEqual(heard(), [`HEAD v3 ${SECOND_USER}`]);
  registry.limits['second'] = { remaining: 40 };
  await manifest('v4', 'HEAD');
  await manifest('v5', 'HEAD');
  t.deepEqual(heard(), [`HEAD v4 ${SECOND_USER}`, `HEAD v5 ${FIRST}`]);
});

test('429 to one goes on with the other, within the request of the client', async (t) => {
  const { registry, manifest, heard, clock } = await startTwo(t, 'Basic');
  registry.limits['first'] = { refused: '120' };
  const answer = await manifest('latest');
  t.is(answer.status, 200);
  t.deepEqual(answer.body, registry.image.manifest.bytes);
  t.deepEqual(heard(), [
    'GET /v2/ none',
    `HEAD latest ${FIRST}`,
    `HEAD latest ${SECOND_USER}`,
    `GET <app> ${SECOND_USER}`,
  ]);
  clock.advance(120 * SECOND - 1);
  await manifest('v1', 'HEAD');
  t.deepEqual(heard(), [`HEAD v1 ${SECOND_USER}`]);
  registry.limits['first'] = {};
  clock.advance(1);
  await manifest('v2', 'HEAD');
  t.deepEqual(heard(), [`HEAD v2 ${FIRST}`]);
});

test('nothing left of one goes on with the other for what is counted', async (t) => {
  const { registry, manifest, heard } = await startTwo(t, 'Basic');
  registry.limits['first'] = { remaining: 3 };
  await manifest('v1', 'HEAD');
  registry.limits['second'] = { refused: 'without a word' };
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(heard(), [
    'GET /v2/ none',
    `HEAD v1 ${FIRST}`,
    `HEAD latest ${SECOND_USER}`,
    `HEAD latest ${FIRST}`,
    `GET <app> ${FIRST}`,
  ]);
});

for (const [first, second] of [
  ['120', '30'],
  ['30', '120'],
] as const) {
  test(`both at their limit (${first} s and ${second} s) is 429 with the shorter wait, and no request`, async (t) => {
    const { registry, manifest, heard, clock } = await startTwo(t, 'Basic');
    registry.limits['first'] = { refused: first };
    registry.limits['second'] = { refused: second };
    t.is((await manifest('latest')).status, 429);
    heard();
    clock.advance(10 * SECOND);
    t.deepEqual(refusalOf(await manifest('latest')), {
      status: 429,
      code: 'TOOMANYREQUESTS',
      retryAfter: '20',
      message: `${UPSTREAM}: limits the rate of requests (429), and is not asked before that ends`,
      detail: { upstream: UPSTREAM, fault: 'rate-limited', upstreamStatus: 429 },
    });
    t.deepEqual(heard(), []);
    registry.limits['first'] = {};
    registry.limits['second'] = {};
    clock.advance(20 * SECOND);
    t.is((await manifest('latest')).status, 200);
  });
}

async function firstRefusal(t: ExecutionContext, first: string, second: string): Promise<unknown> {
  const { registry, manifest, heard } = await startTwo(t, 'Basic');
  registry.limits['first'] = { refused: first };
  registry.limits['second'] = { refused: second };
  const { retryAfter, message } = refusalOf(await manifest('latest'));
  t.is(message, `${UPSTREAM}: ${registry.host} limits the rate of requests (429)`);
  t.deepEqual(heard(), ['GET /v2/ none', `HEAD latest ${FIRST}`, `HEAD latest ${SECOND_USER}`]);
  return retryAfter;
}

test('the client whose request met both limits is told of them in the words of the registry', async (t) => {
  t.is(await firstRefusal(t, '120', '30'), '30');
});

test('the client whose request met both limits hears the shorter wait, also of the first', async (t) => {
  t.is(await firstRefusal(t, '30', '120'), '30');
});

test('what both have left is shown as one sum', async (t) => {
  const { registry, manifest, mirror } = await startTwo(t, 'Basic');
  registry.limits['first'] = { remaining: 50 };
  registry.limits['second'] = { remaining: 70 };
  await manifest('v1', 'HEAD');
  await manifest('v2', 'HEAD');
  const { rateLimitLimit, rateLimitRemaining } = mirror.server.metrics;
  await mirror.server.metrics.expose();
  const values = await Promise.all([rateLimitLimit.get(), rateLimitRemaining.get()]);
  t.deepEqual(
    values.map(({ values: [entry] }) => [entry?.labels, entry?.value]),
    [
      [{ upstream: UPSTREAM }, 200],
      [{ upstream: UPSTREAM }, 120],
    ],
  );
});

test('neither secret is in a log line or an answer', async (t) => {
  const { registry, manifest, mirror } = await startTwo(t, 'Bearer');
  const answers = [await manifest('latest')];
  registry.limits['first'] = { refused: '9' };
  registry.limits['second'] = { refused: '9' };
  answers.push(await manifest('other'), await manifest('other'));
  const everything = JSON.stringify([
    mirror.log,
    answers.map(({ headers, body }) => [headers, body.toString()]),
  ]);
  const encoded = ['first:secret-first', 'second:secret-second'].map((text) =>
    Buffer.from(text).toString('base64'),
  );
  for (const secret of ['secret-first', 'secret-second', 'token-1', 'token-2', ...encoded]) {
    t.false(everything.includes(secret), secret);
  }
});
