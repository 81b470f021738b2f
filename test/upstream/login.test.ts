import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { MINUTE } from '../helpers/clock.ts';
import type { AuthOptions } from '../helpers/fake-token-server.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import type { RecordedRequest } from '../helpers/recorded-request.ts';
import type { UpstreamOptions } from '../helpers/mirror.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM, refusalOf, startScene, type Scene } from '../helpers/scene.ts';

const SCOPE = `repository:${REPOSITORY}:pull`;
const WIDER = `${SCOPE} repository:library/base:pull`;
const TOKEN = `GET token ${SCOPE}`;
const TOKEN_WIDER = `GET token ${WIDER}`;
const LATEST = `/v2/${REPOSITORY}/manifests/latest`;
const HEAD_LATEST = `HEAD ${LATEST}`;
/** What a HEAD cannot say. */
const GET_WORDS = `GET ${LATEST}`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;
const USER = { username: 'robot', password: 'pass:word' };
const always = { times: Infinity };

async function startGuarded(
  t: ExecutionContext,
  auth: AuthOptions | undefined,
  credentials: NonNullable<UpstreamOptions['credentials']> = [],
): Promise<Scene> {
  return startScene(t, { ...(auth && { registry: { auth } }), upstream: { credentials } });
}

/** From now on the registry wants more, or another, of those who show a token. */
function refuseTokens(
  registry: FakeRegistry,
  parameters: string,
  options: { times?: number } = {},
): void {
  const isProven = ({ origin, path, authorization }: RecordedRequest): boolean =>
    origin === 'registry' && path === LATEST && authorization.startsWith('bearer:');
  registry.status(isProven, 401, {
    ...options,
    headers: {
      'WWW-Authenticate': `Bearer realm="${registry.url}/token",service="fake-registry",${parameters}`,
    },
  });
}

function refused({ host }: FakeRegistry, login = 'anonymously'): Record<string, unknown> {
  return {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: ${host} refused access ${login} (401): UNAUTHORIZED: unauthorized`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized', upstreamStatus: 401 },
  };
}

// insufficient_scope

test('insufficient_scope is answered once with the scope of that challenge', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'bearer' });
  refuseTokens(registry, `scope="${WIDER}",error="insufficient_scope"`);
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    TOKEN,
    HEAD_LATEST,
    TOKEN_WIDER,
    HEAD_LATEST,
    GET_APP,
  ]);
});

const wants = (scope: string): string => `scope="${scope}",error="insufficient_scope"`;

/** Ways of wanting more that come to an end, for a HEAD and for the GET after it: the last is said for ever. */
const INSATIABLE: [claim: string, wanted: readonly string[], heard: readonly string[]][] = [
  [
    'again, after the scope that was asked for, is the end',
    [wants(WIDER)],
    [TOKEN_WIDER, HEAD_LATEST, GET_WORDS, GET_WORDS],
  ],
  [
    'whose scope grows with every refusal is followed once',
    [wants(WIDER), wants(`${WIDER} registry:all:*`)],
    [TOKEN_WIDER, HEAD_LATEST, GET_WORDS, `${TOKEN_WIDER} registry:all:*`, GET_WORDS],
  ],
  ['that asks for what was shown is the end at once', [wants(SCOPE)], [GET_WORDS]],
  [
    'that names no scope is the end at once',
    ['error="insufficient_scope"'],
    [GET_WORDS, TOKEN, GET_WORDS],
  ],
];

for (const [claim, wanted, heard] of INSATIABLE) {
  test(`insufficient_scope ${claim}`, async (t) => {
    const { registry, manifest } = await startGuarded(t, { kind: 'bearer' });
    for (const parameters of wanted.slice(0, -1)) refuseTokens(registry, parameters);
    refuseTokens(registry, wanted.at(-1)!, always);
    t.deepEqual(refusalOf(await manifest('latest')), refused(registry));
    t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN, HEAD_LATEST, ...heard]);
  });
}

for (const [claim, age, detail, heard] of [
  ['of a moment ago asks for no other: nothing can have changed', MINUTE - 1, 'stale', [GET_WORDS]],
  [
    'that is a minute old asks for the same once more: rights may be new',
    MINUTE,
    'revalidated',
    [TOKEN, HEAD_LATEST],
  ],
] as const) {
  test(`insufficient_scope for a token ${claim}`, async (t) => {
    const { registry, manifest, clock } = await startGuarded(t, { kind: 'bearer' });
    await manifest('latest');
    clock.advance(age);
    registry.clear();
    refuseTokens(registry, wants(SCOPE), detail === 'stale' ? always : {});
    t.is((await manifest('latest')).headers['cache-status'], `entrepot; hit; detail=${detail}`);
    t.deepEqual(registry.conversation(), [HEAD_LATEST, ...heard]);
  });
}

// invalid_token

test('invalid_token drops the token and asks for one more', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'bearer' });
  await manifest('latest');
  registry.clear();
  registry.revokeTokens();
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=revalidated');
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN, HEAD_LATEST]);
  t.is(registry.tokensIssued, 2);
});

test('invalid_token of a token that was just issued is the end', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'bearer' });
  await manifest('latest', { method: 'HEAD' });
  registry.clear();
  refuseTokens(registry, `scope="${SCOPE}",error="invalid_token"`, always);
  t.deepEqual(refusalOf(await manifest('latest')), refused(registry));
  const byGet = [GET_WORDS, TOKEN, GET_WORDS];
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN, HEAD_LATEST, ...byGet]);
});

test('an expired token and a wider scope after it are both answered', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'bearer' });
  await manifest('latest');
  registry.clear();
  refuseTokens(registry, `scope="${SCOPE}",error="invalid_token"`);
  refuseTokens(registry, `scope="${WIDER}",error="insufficient_scope"`);
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=revalidated');
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN, HEAD_LATEST, TOKEN_WIDER, HEAD_LATEST]);
});

// 401 without a word

test('a 401 without a challenge is explained by /v2/, once', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'bearer' });
  registry.omitHeaders(LATEST, ['WWW-Authenticate'], always);
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, 'GET /v2/', TOKEN, HEAD_LATEST, GET_APP]);
  registry.clear();
  registry.revokeTokens();
  t.is((await manifest('latest')).headers['cache-status'], 'entrepot; hit; detail=revalidated');
  t.deepEqual(registry.conversation(), [HEAD_LATEST, TOKEN, HEAD_LATEST]);
});

test('a 401 that /v2/ does not explain either is refused with the reason', async (t) => {
  const { registry, manifest } = await startGuarded(t, undefined);
  registry.status(LATEST, 401, always);
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: asks for a login in a way that is not Bearer or Basic`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized' },
  });
  t.deepEqual(registry.conversation(), [HEAD_LATEST, 'GET /v2/']);
});

// Credentials that are ready, or do not fit

test('a bearer credential is sent as it is, and no token is asked for', async (t) => {
  const { registry, manifest, blob, image } = await startGuarded(t, undefined, [
    { provider: 'bearer', token: 'abc.def' },
  ]);
  t.is((await manifest('latest')).status, 200);
  t.is((await blob(image.layer(0))).status, 200);
  t.deepEqual(registry.conversation(), [
    HEAD_LATEST,
    GET_APP,
    `GET /v2/${REPOSITORY}/blobs/<app.layer0>`,
  ]);
  for (const { headers } of registry.requests) t.is(headers.authorization, 'Bearer abc.def');
});

test('a bearer credential whose file is replaced is the new one with the next request', async (t) => {
  const file = join(await createTempFolder(t), 'token');
  await writeFile(file, 'abc.def');
  const { registry, manifest, blob, image } = await startGuarded(t, undefined, [
    { provider: 'bearer', token: 'abc.def', file },
  ]);
  t.is((await manifest('latest')).status, 200);
  await writeFile(file, 'two words');
  t.is((await blob(image.layer(0))).status, 200);
  await writeFile(file, 'next.one');
  t.is((await blob(image.layer(1))).status, 200);
  t.deepEqual(
    registry.requests.map(({ headers }) => headers.authorization),
    ['abc.def', 'abc.def', 'abc.def', 'next.one'].map((token) => `Bearer ${token}`),
  );
});

test('a bearer credential that is refused is refused: nothing else is tried', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'bearer' }, [
    { provider: 'bearer', token: 'abc.def' },
  ]);
  const answer = await manifest('latest');
  t.deepEqual(refusalOf(answer), refused(registry, 'with the configured credentials'));
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_WORDS]);
  t.false(answer.body.includes('abc.def'));
});

test('an identity token where a password is asked for is refused, and says so', async (t) => {
  const { registry, manifest } = await startGuarded(t, { kind: 'basic', ...USER }, [
    { provider: 'identity-token', token: 'refresh-me' },
  ]);
  const answer = await manifest('latest');
  t.deepEqual(refusalOf(answer), {
    status: 403,
    code: 'DENIED',
    message: `${UPSTREAM}: asks for a password and has an identity token configured`,
    detail: { upstream: UPSTREAM, fault: 'unauthorized' },
  });
  t.deepEqual(registry.conversation(), ['GET /v2/']);
  t.is(registry.requests[0]?.headers.authorization, undefined);
});

// The registry's own words in a refusal

const WORDS: [claim: string, body: string, contentType: string, told: string][] = [
  [
    'code and message of a JSON error are repeated',
    '{"errors":[{"code":"DENIED","message":"your plan has ended","detail":"secret detail"}]}',
    'application/json',
    ': DENIED: your plan has ended',
  ],
  [
    'the first of several errors is repeated',
    '{"errors":[{"code":"A","message":"b"},{"code":"C","message":"d"}]}',
    'application/json; charset=utf-8',
    ': A: b',
  ],
  ['a message alone will do', '{"errors":[{"message":"no"}]}', 'application/json', ': no'],
  [
    'a code alone will do',
    '{"errors":[{"code":"DENIED","message":""}]}',
    'application/vnd.example.error+json',
    ': DENIED',
  ],
  [
    'control characters and what is not ASCII are spaces',
    JSON.stringify({
      errors: [{ code: 'DE\r\nX-Evil: 1', message: 'a\u0000\u001b[31mb\u007f\u2028c \u00e9' }],
    }),
    'application/json',
    ': DE X-Evil: 1: a [31mb c  ',
  ],
  [
    'long words are cut',
    JSON.stringify({ errors: [{ code: 'X', message: 'y'.repeat(1000) }] }),
    'application/json',
    `: X: ${'y'.repeat(597)}`,
  ],
  ['a page is not repeated', '<h1>Sign in</h1>', 'text/html', ''],
  ['a page that says it is JSON is not repeated', '<h1>Sign in</h1>', 'application/json', ''],
  [
    'JSON that says it is a page is not repeated',
    '{"errors":[{"code":"DENIED","message":"Sign in"}]}',
    'text/html',
    '',
  ],
  ['plain text is not repeated', 'Sign in', 'text/plain', ''],
  ['other JSON is not repeated', '{"error":"Sign in"}', 'application/json', ''],
  ['errors that are none are not repeated', '{"errors":["Sign in",1]}', 'application/json', ''],
  [
    'words that are no text are not repeated',
    '{"errors":[{"code":1,"message":{"a":"Sign in"}}]}',
    'application/json',
    '',
  ],
  [
    'an error document beyond all measure is not repeated',
    JSON.stringify({ errors: [{ code: 'A', message: 'b' }], rest: 'Sign in'.repeat(3000) }),
    'application/json',
    '',
  ],
];

for (const [claim, body, contentType, told] of WORDS) {
  test(`of a refusal, ${claim}`, async (t) => {
    const { registry, manifest, image } = await startGuarded(t, undefined);
    registry.status(image.manifest, 403, { body, contentType });
    const answer = await manifest(image.manifest.digest);
    t.deepEqual(refusalOf(answer), {
      status: 403,
      code: 'DENIED',
      message: `${UPSTREAM}: ${registry.host} denied access anonymously (403)${told}`,
      detail: { upstream: UPSTREAM, fault: 'denied', upstreamStatus: 403 },
    });
    if (told === '') t.false(answer.body.includes('Sign in'));
  });
}

test('a HEAD that is refused is explained by one GET', async (t) => {
  const { registry, manifest } = await startGuarded(t, undefined);
  const body = '{"errors":[{"code":"DENIED","message":"your plan has ended"}]}';
  registry.status(LATEST, 403, { ...always, body, contentType: 'application/json' });
  const { message } = refusalOf(await manifest('latest'));
  const refusal = `${registry.host} denied access anonymously (403)`;
  t.is(message, `${UPSTREAM}: ${refusal}: DENIED: your plan has ended`);
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_WORDS]);
});

test('what breaks in that GET takes nothing from the refusal', async (t) => {
  const { registry, manifest } = await startGuarded(t, undefined);
  registry.status(LATEST, 403, { method: 'HEAD' });
  registry.cut(LATEST, { method: 'GET', after: 'request' });
  const { status, message } = refusalOf(await manifest('latest'));
  t.is(status, 403);
  t.is(message, `${UPSTREAM}: ${registry.host} denied access anonymously (403)`);
});

test('a HEAD that is answered 429 is not followed by a GET', async (t) => {
  const { registry, manifest } = await startGuarded(t, undefined);
  registry.status(LATEST, 429, always);
  await manifest('latest');
  t.deepEqual(registry.conversation(), [HEAD_LATEST]);
});

test('the words of an error that breaks off are not repeated, and its status counts', async (t) => {
  const { registry, manifest, image } = await startGuarded(t, undefined);
  const body = '{"errors":[{"code":"DENIED","message":"half';
  const headers = { 'Content-Length': String(body.length + 10) };
  registry.status(image.manifest, 403, { body, headers, contentType: 'application/json' });
  const { message, status } = refusalOf(await manifest(image.manifest.digest));
  t.is(status, 403);
  t.is(message, `${UPSTREAM}: ${registry.host} denied access anonymously (403)`);
});

test('the words of a registry reach a stale answer’s Warning in one clean line', async (t) => {
  const { registry, manifest } = await startGuarded(t, undefined);
  await manifest('latest');
  const body = JSON.stringify({ errors: [{ code: 'X', message: 'a "b"\r\nSet-Cookie: c=d' }] });
  registry.status(LATEST, 403, { ...always, body, contentType: 'application/json' });
  const { status, headers } = await manifest('latest');
  t.is(status, 200);
  t.is(headers['set-cookie'], undefined);
  t.regex(String(headers['warning']), /\(403\): X: a .* Set-Cookie: c=d"$/);
});
