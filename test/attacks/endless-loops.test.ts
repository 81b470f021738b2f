/**
 * An upstream that never stops asking for one thing more: another login, another wait, another
 * place. Every loop has a bound, and what clients are told is bounded too.
 */
import test from 'ava';
import { Clock, HOUR, MINUTE } from '../helpers/clock.ts';
import { refusalOf, REPOSITORY, startScene } from '../helpers/scene.ts';

const always = { times: Infinity };
const USER = { username: 'robot', password: 'pass:word' };
const LAYER = `GET /v2/${REPOSITORY}/blobs/<app.layer1>`;
const DAY = 24 * HOUR;

// Waits

const WAITS: Record<string, [header: string | undefined, seconds: number]> = {
  nothing: [undefined, 1],
  'two minutes': ['120', 120],
  zero: ['0', 1],
  'a negative number': ['-5', 1],
  nonsense: ['soon', 1],
  'the past': ['Fri, 31 Dec 1999 23:59:59 GMT', 1],
  'the year 9999': ['Fri, 31 Dec 9999 23:59:59 GMT', 1],
  'a day': ['86400', 3600],
  'more digits than a number has': ['9'.repeat(400), 1],
};

for (const [claim, [header, seconds]] of Object.entries(WAITS)) {
  for (const path of ['manifests/latest', 'blobs'] as const) {
    test(`a 429 that asks for a wait of ${claim} is asked once, and all are told the same, for ${path}`, async (t) => {
      const { registry, image, ask, clock } = await startScene(t);
      const headers = header === undefined ? {} : { 'Retry-After': header };
      registry.status(/^\/v2\//, 429, { ...always, headers });
      const url = `/v2/${REPOSITORY}/${path === 'blobs' ? `blobs/${image.layer(0).digest}` : path}`;
      for (let client = 0; client < 3; client += 1) {
        const answer = await ask(url);
        t.is(answer.status, 429);
        t.is(answer.headers['retry-after'], String(seconds));
      }
      t.is(registry.requests.length, 1);
      registry.heal();
      clock.advance(seconds * 1000);
      t.is((await ask(url)).status, 200);
    });
  }
}

test('a 503 that asks for a wait of the year 9999 tells clients an hour at most', async (t) => {
  const { registry, manifest } = await startScene(t, { timing: { attemptsMs: 0 } });
  const headers = { 'Retry-After': 'Fri, 31 Dec 9999 23:59:59 GMT' };
  registry.status(/^\/v2\//, 503, { ...always, headers });
  const { retryAfter } = refusalOf(await manifest('latest'));
  t.true(retryAfter === undefined || Number(retryAfter) <= 3600, String(retryAfter));
});

test('a token service that asks for a wait of the year 9999 is believed to have named no time', async (t) => {
  const { registry, manifest } = await startScene(t, { registry: { auth: { kind: 'bearer' } } });
  const headers = { 'Retry-After': 'Fri, 31 Dec 9999 23:59:59 GMT' };
  registry.status('/token', 429, { ...always, headers });
  t.is((await manifest('latest')).headers['retry-after'], '60');
  t.is(registry.requests.length, 2);
});

test('two accounts that are both refused are asked once each', async (t) => {
  const { registry, manifest } = await startScene(t, {
    registry: { auth: { kind: 'basic', ...USER } },
    upstream: {
      credentials: [
        { provider: 'password', ...USER },
        { provider: 'password', username: 'other', password: 'secret' },
      ],
    },
  });
  registry.status(/^\/v2\//, 429, { ...always, headers: { 'Retry-After': '0' } });
  t.is((await manifest('latest')).status, 429);
  t.is((await manifest('latest')).status, 429);
  const asked = 'HEAD /v2/library/app/manifests/latest';
  t.deepEqual(registry.conversation(), ['GET /v2/', asked, asked]);
});

// Logins

test('a registry that refuses every token with a new challenge is asked four times', async (t) => {
  const { registry, blob, image } = await startScene(t, {
    registry: { auth: { kind: 'bearer', ...USER } },
    upstream: { credentials: USER },
  });
  for (let turn = 0; turn < 20; turn += 1) {
    const scope = `repository:${REPOSITORY}:pull,x${turn}`;
    registry.status(/\/blobs\//, 401, {
      headers: {
        'WWW-Authenticate': `Bearer realm="${registry.url}/token",service="s${turn}",scope="${scope}",error="insufficient_scope"`,
      },
    });
  }
  t.is((await blob(image.layer(1))).status, 403);
  t.true(registry.requests.filter(({ origin }) => origin === 'registry').length <= 4);
  t.true(registry.requests.filter(({ origin }) => origin === 'token').length <= 4);
});

for (const status of [301, 302, 307, 308]) {
  test(`a token service that redirects with ${status} is not followed`, async (t) => {
    const { registry, manifest } = await startScene(t, {
      registry: { auth: { kind: 'bearer', ...USER } },
      upstream: { credentials: USER },
    });
    registry.status('/token', status, { ...always, headers: { Location: '/token' } });
    t.is((await manifest('latest')).status, 502);
    t.is(registry.requests.length, 2);
  });
}

test('a circle of redirects between a registry and its storage ends, and tells so', async (t) => {
  const { registry, blob, image } = await startScene(t, { registry: { redirectBlobs: 307 } });
  const path = `/v2/${REPOSITORY}/blobs/${image.layer(1).digest}`;
  registry.status(({ origin }) => origin === 'storage', 302, {
    ...always,
    headers: { Location: `${registry.url}${path}` },
  });
  t.is((await blob(image.layer(1))).status, 502);
  t.is(registry.conversation().filter((line) => line === LAYER).length, 6);
  t.is(registry.requests.length, 11);
});

// Clocks

for (const [claim, step] of [
  ['set back by three days', -3 * DAY],
  ['set to 1970', -60 * 365 * DAY],
  ['set forward by three days', 3 * DAY],
  ['set forward by sixty years', 60 * 365 * DAY],
] as const) {
  test(`with a clock that is ${claim} tokens are used while they are good, and renewed when refused`, async (t) => {
    const clock = new Clock();
    const { registry, manifest, image } = await startScene(t, {
      clock,
      registry: { auth: { kind: 'bearer', ...USER }, now: clock.steady },
      upstream: { credentials: USER },
    });
    t.is((await manifest('latest')).status, 200);
    clock.setBack(-step);
    for (let turn = 0; turn < 3; turn += 1) {
      t.is((await manifest(`other${turn}`)).status, 404);
    }
    t.is(registry.tokensIssued, 1);
    registry.revokeTokens();
    t.is((await manifest('another')).status, 404);
    t.is(registry.tokensIssued, 2);
    clock.advance(10 * MINUTE);
    t.is((await manifest(image.manifest.digest)).status, 200);
  });
}
