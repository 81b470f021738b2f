/** JWTs that somebody made up, found, or had given for something else. */
import { createHmac, createPublicKey, createSecretKey, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { SignJWT } from 'jose';
import { rawRequest } from '../helpers/client.ts';
import { Clock, MINUTE } from '../helpers/clock.ts';
import { jwksOf, serviceAccount, SigningKey } from './fake-issuer.ts';
import {
  basic,
  HUB,
  SECRET,
  startPrivateMirror,
  tokenIn,
  writeJwks,
  type PrivateMirror,
} from './private-mirror.ts';

const ISSUER = 'https://id.example';
const CLUSTER = 'https://kubernetes.default.svc';
const AUDIENCE = 'entrepot';
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

interface Scene extends PrivateMirror {
  readonly key: SigningKey;
  readonly clock: Clock;
  /** Claims that count, but for what is given. */
  readonly claims: (others?: Readonly<Record<string, unknown>>) => Record<string, unknown>;
}

/** A provider whose keys are pinned; `oidc:corp:alice` may pull. */
async function start(t: ExecutionContext, key = new SigningKey()): Promise<Scene> {
  const clock = new Clock();
  const jwks = await writeJwks(t, jwksOf(key));
  const corp = { name: 'corp', issuer: ISSUER, audience: AUDIENCE, subject: 'sub', jwks };
  const who = ['oidc:corp:alice', 'group:devs', 'user:root', 'k8s:*:*:*'];
  const oidc = [{ ...corp, groups: 'groups' }];
  const mirror = await startPrivateMirror(t, who, { oidc }, { clock });
  const claims: Scene['claims'] = (others) => {
    const now = clock.wall() / 1000;
    const times = { iat: now, nbf: now, exp: now + 600 };
    return { iss: ISSUER, aud: AUDIENCE, sub: 'alice', ...times, ...others };
  };
  return { ...mirror, key, clock, claims };
}

function encode(part: unknown): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

test('claims: ended, of the future, for somebody else, by somebody else, or left out', async (t) => {
  const { key, clock, claims, pull } = await start(t);
  const now = clock.wall() / 1000;
  t.is(await pull(await key.sign(claims())), 200);
  t.is(await pull(await key.sign(claims({ aud: ['other', AUDIENCE] }))), 200);
  const wrong = [
    { exp: now - 120 },
    { nbf: now + 121 },
    { iat: now + 121 },
    { exp: undefined },
    { iat: undefined },
    { exp: String(now + 600) },
    { aud: 'other' },
    { aud: [] },
    { aud: undefined },
    { aud: { entrepot: true } },
    { iss: 'https://id.example/' },
    { iss: 'https://evil.example' },
    { iss: [ISSUER] },
    { iss: undefined },
    { sub: undefined },
    { sub: '' },
    { sub: ['alice'] },
  ];
  for (const others of wrong) {
    t.is(await pull(await key.sign(claims(others))), 401, JSON.stringify(others));
  }
});

test('a signature counts by the key of that name alone, and by an algorithm of that key', async (t) => {
  const { key, claims, pull } = await start(t, new SigningKey({ alg: 'RS256' }));
  const other = new SigningKey({ alg: 'RS256' });
  t.is(await pull(await key.sign(claims())), 200);
  t.is(await pull(await other.sign(claims(), { kid: key.kid })), 401);
  t.is(await pull(await other.sign(claims())), 401);
  t.is(await pull(await key.sign(claims(), { kid: 'constructor' })), 401);
  t.is(await pull(await key.sign(claims(), { kid: undefined as never })), 401);
  // The file says that the key is for RS256.
  t.is(await pull(await key.sign(claims(), { alg: 'PS256' })), 401);
  const signed = await key.sign(claims());
  t.is(await pull(signed.slice(0, -4)), 401);
  const [head = '', , signature = ''] = signed.split('.');
  t.is(await pull([head, encode(claims({ sub: 'root' })), signature].join('.')), 401);
});

test('neither no algorithm nor the public key as a shared secret is a signature', async (t) => {
  const { key, claims, pull } = await start(t, new SigningKey({ alg: 'RS256' }));
  for (const alg of ['none', 'None', 'NONE', '']) {
    const unsigned = `${encode({ alg, kid: key.kid })}.${encode(claims())}`;
    t.is(await pull(`${unsigned}.`), 401, alg);
    t.is(await pull(`${unsigned}.AAAA`), 401, alg);
  }
  const pem = key.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const spki = createPublicKey(pem).export({ type: 'spki', format: 'pem' });
  for (const secret of [spki, JSON.stringify(key.jwk), jwksOf(key)]) {
    const head = encode({ alg: 'HS256', kid: key.kid });
    const body = encode(claims());
    const mac = createHmac('sha256', secret).update(`${head}.${body}`).digest('base64url');
    t.is(await pull(`${head}.${body}.${mac}`), 401);
    const made = await new SignJWT(claims())
      .setProtectedHeader({ alg: 'HS512', kid: key.kid })
      .sign(createSecretKey(Buffer.from(secret.padEnd(64))));
    t.is(await pull(made), 401);
  }
});

test('a key that a token brings along, or leads to, is none', async (t) => {
  const { key, claims, pull } = await start(t);
  const evil = new SigningKey();
  const away = 'http://127.0.0.1:9/jwks';
  const headers = [{ jwk: evil.jwk }, { jku: away }, { x5u: away }, { x5c: ['MIIB'] }];
  for (const header of headers) {
    for (const kid of [evil.kid, key.kid, undefined]) {
      const jwt = await evil.sign(claims(), { ...header, kid } as never);
      t.is(await pull(jwt), 401, JSON.stringify(header));
    }
  }
  // By the right key such a header changes nothing.
  t.is(await pull(await key.sign(claims(), { jwk: evil.jwk, jku: away })), 200);
  const crit = { crit: ['urn:example'], 'urn:example': true };
  const critical = `${encode({ alg: key.alg, kid: key.kid, ...crit })}.${encode(claims())}`;
  const signature = sign('sha256', Buffer.from(critical), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
  });
  t.is(await pull(`${critical}.${signature.toString('base64url')}`), 401);
});

test('a token of another kind says nothing: of a logout, or our own', async (t) => {
  const { key, claims, pull, ask, post } = await start(t);
  for (const typ of ['JWT', 'jwt', 'at+jwt', 'application/at+jwt']) {
    t.is(await pull(await key.sign(claims(), { typ })), 200, typ);
  }
  for (const typ of ['logout+jwt', 'entrepot+jwt', 'application/entrepot+jwt', 'secevent+jwt']) {
    const jwt = await key.sign(claims(), { typ });
    t.is(await pull(jwt), 401, typ);
    t.is((await ask(SECRET, `Bearer ${jwt}`)).status, 401, typ);
  }
  const given = await ask(
    `/token?scope=repository:${HUB}/org/secret:pull`,
    basic(await key.sign(claims())),
  );
  const ours = (JSON.parse(String(given.body)) as { token: string }).token;
  t.is((await ask(SECRET, `Bearer ${ours}`)).status, 200);
  // It is no password, no assertion, and no way to a wider one.
  t.is(await pull(ours), 401);
  t.is((await post({ grant_type: JWT_BEARER, assertion: ours })).status, 400);
  t.is((await post({ grant_type: 'refresh_token', refresh_token: ours })).status, 401);
  t.is((await ask('/token', `Bearer ${ours}`)).status, 401);
  const wider = await ask(`/token?scope=repository:${HUB}/org/other:pull`, `Bearer ${ours}`);
  t.is((await ask('/v2/org/other/manifests/v1', `Bearer ${tokenIn(wider)}`)).status, 401);
});

test('claims make no name of another kind, and none that nobody can read', async (t) => {
  const { key, claims, pull, mirror } = await start(t);
  const names = [
    'root\nuser:root',
    'user: root',
    'a b',
    'a\tb',
    'a\u0000b',
    'a\u202Eb',
    'a\u200Bb',
    'x'.repeat(231),
  ];
  for (const sub of names) t.is(await pull(await key.sign(claims({ sub }))), 401, sub);
  for (const sub of ['user:root', 'k8s:prod:team-a:builder', 'x', 'alice:alice', 'ALICE']) {
    t.is(await pull(await key.sign(claims({ sub }))), 404, sub);
  }
  const inGroups = async (groups: unknown): Promise<number> =>
    pull(await key.sign(claims({ sub: 'bob', groups })));
  t.is(await inGroups(['devs']), 200);
  t.is(await inGroups('devs'), 200);
  for (const groups of [['user:root'], ['x', 'dev s'], { devs: 1 }, [['devs']], null, ['Devs']]) {
    t.is(await inGroups(groups), 404, JSON.stringify(groups));
  }
  // However many there are, those count that rules name.
  const many = Array.from({ length: 500 }, (_, place) => `team-${place}`);
  t.is(await inGroups([...many, 'devs']), 200);
  t.false(JSON.stringify(mirror.log).includes('\u202E'));
});

test('a mail address counts only when the provider has verified it', async (t) => {
  const { key, claims, pull, become, options } = await start(t);
  const [corp] = options.access?.oidc ?? [];
  await become(['oidc:corp:root@example.org'], { oidc: [{ ...corp!, subject: 'email' }] });
  const email = 'root@example.org';
  t.is(await pull(await key.sign(claims({ email }))), 200);
  t.is(await pull(await key.sign(claims({ email, email_verified: true }))), 200);
  t.is(await pull(await key.sign(claims({ email, email_verified: false }))), 401);
  t.is(await pull(await key.sign(claims({ email, email_verified: 'false' }))), 401);
});

test('the claims of a service account agree with its subject', async (t) => {
  const clock = new Clock();
  const key = new SigningKey({ alg: 'RS256' });
  const jwks = await writeJwks(t, jwksOf(key));
  const prod = { name: 'prod', issuer: CLUSTER, audience: AUDIENCE, jwks };
  const { pull } = await startPrivateMirror(t, ['k8s:**'], { kubernetes: [prod] }, { clock });
  const account = { at: clock.wall(), namespace: 'team-a', account: 'builder' };
  const right = serviceAccount(CLUSTER, account);
  t.is(await pull(await key.sign(right)), 200);
  const inside = (namespace: unknown, name: unknown) => ({
    'kubernetes.io': { namespace, serviceaccount: { name } },
  });
  const wrong = [
    { sub: 'system:serviceaccount:team-a:other' },
    { sub: 'system:serviceaccount:kube-system:builder' },
    { sub: 'system:node:node-1' },
    { sub: undefined },
    { 'kubernetes.io': undefined },
    { 'kubernetes.io': 'team-a' },
    inside('team-a', undefined),
    { ...inside('team-a:x', 'builder'), sub: 'system:serviceaccount:team-a:x:builder' },
    { ...inside('team-a', 'x:builder'), sub: 'system:serviceaccount:team-a:x:builder' },
    { ...inside('', 'builder'), sub: 'system:serviceaccount::builder' },
    { ...inside('team/a', 'builder'), sub: 'system:serviceaccount:team/a:builder' },
  ];
  for (const others of wrong) {
    t.is(await pull(await key.sign({ ...right, ...others })), 401, JSON.stringify(others));
  }
});

test('a token of a megabyte, or of more than 16 KiB, is not even parsed', async (t) => {
  const { key, claims, ask, post, refusals, mirror } = await start(t);
  const long = await key.sign(claims({ filler: 'x'.repeat(14 * 1024) }));
  const scope = `repository:${HUB}/org/secret:pull`;
  t.is((await post({ grant_type: JWT_BEARER, assertion: long })).status, 400);
  const asPassword = await post({ grant_type: 'password', username: 'any', password: long, scope });
  t.is((await ask(SECRET, `Bearer ${tokenIn(asPassword)}`)).status, 401);
  const huge = await key.sign(claims({ filler: 'x'.repeat(1024 * 1024) }));
  const form = new URLSearchParams({ grant_type: JWT_BEARER, assertion: huge }).toString();
  const requests = [
    `GET ${SECRET} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${huge}\r\n\r\n`,
    `POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${form.length}\r\nConnection: close\r\n\r\n${form}`,
  ];
  // Whoever is still sending may not read the answer.
  for (const request of requests) {
    const answer = await rawRequest(Number(new URL(mirror.url).port), request);
    t.regex(answer, /^(?:$|HTTP\/1\.1 4(?:00|31) )/);
  }
  t.is((await ask(SECRET, basic(await key.sign(claims())))).status, 200);
  t.deepEqual(refusals(), []);
});

test('what is given for a JWT ends with it, and with what its issuer is configured as', async (t) => {
  const { key, clock, claims, ask, post, become, options } = await start(t);
  const scope = `repository:${HUB}/org/secret:pull`;
  const jwt = await key.sign(claims({ exp: clock.wall() / 1000 + 90 }));
  const given = await post({ grant_type: JWT_BEARER, assertion: jwt, scope });
  t.like(JSON.parse(String(given.body)), { expires_in: 90 });
  const token = `Bearer ${tokenIn(given)}`;
  t.is((await ask(SECRET, token)).status, 200);
  clock.advance(1.5 * MINUTE);
  t.is((await ask(SECRET, token)).status, 401);
  // The JWT itself counts a while longer, for clocks that differ; nothing is given for it any more.
  t.is((await ask(SECRET, basic(jwt))).status, 200);
  t.is((await ask('/token', basic(jwt))).status, 401);
  t.is((await post({ grant_type: JWT_BEARER, assertion: jwt })).status, 400);
  const whole = await post({
    grant_type: JWT_BEARER,
    assertion: await key.sign(claims()),
    scope,
  });
  t.like(JSON.parse(String(whole.body)), { expires_in: 300 });
  const later = `Bearer ${tokenIn(whole)}`;
  t.is((await ask(SECRET, later)).status, 200);
  const [corp] = options.access?.oidc ?? [];
  await become(['oidc:corp:alice'], { oidc: [{ ...corp!, audience: 'other' }] });
  t.is((await ask(SECRET, later)).status, 401);
});

test('a key that is taken out of a pinned file counts no more, and one that is put in counts', async (t) => {
  const { key, claims, ask, pull, post, options } = await start(t);
  const next = new SigningKey();
  const [before, after] = [await key.sign(claims()), await next.sign(claims())];
  t.deepEqual([await pull(before), await pull(after)], [200, 401]);
  const scope = `repository:${HUB}/org/secret:pull`;
  const given = await post({ grant_type: JWT_BEARER, assertion: before, scope });
  const token = `Bearer ${tokenIn(given)}`;
  t.is((await ask(SECRET, token)).status, 200);
  const [corp] = options.access?.oidc ?? [];
  const { file } = corp!.jwks as { file: string };
  writeFileSync(file, jwksOf(next));
  t.deepEqual([await pull(before), await pull(after)], [401, 200]);
  // Nor does what was given for it, also where another key has its name.
  t.is((await ask(SECRET, token)).status, 401);
  writeFileSync(file, jwksOf(next, new SigningKey({ kid: key.kid })));
  t.is((await ask(SECRET, token)).status, 401);
  // What is half written changes nothing.
  writeFileSync(file, jwksOf(key, next).slice(0, -9));
  t.deepEqual([await pull(before), await pull(after)], [401, 200]);
  writeFileSync(file, jwksOf(key, next));
  t.deepEqual([await pull(before), await pull(after)], [200, 200]);
  t.is((await ask(SECRET, token)).status, 200);
});
