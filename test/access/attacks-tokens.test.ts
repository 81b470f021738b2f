/** Tokens of ours that are forged, old, stolen, too wide, or shown where they do not belong. */
import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { decodeJwt, decodeProtectedHeader, SignJWT, type JWTHeaderParameters } from 'jose';
import { rawRequest } from '../helpers/client.ts';
import { Clock, MINUTE } from '../helpers/clock.ts';
import {
  basic,
  form,
  HUB,
  startGuardedScene,
  writeUsers,
  type GuardedScene,
} from './guarded-scene.ts';

const OPEN = '/v2/library/open/manifests/v1';
const PRIVATE = '/v2/org/private/manifests/v1';
const SCOPE = `repository:${HUB}/org/private:pull`;

async function tokenOf(
  { ask }: GuardedScene,
  headers: Readonly<Record<string, string>>,
  scopes = [SCOPE],
): Promise<string> {
  const query = new URLSearchParams(scopes.map((scope) => ['scope', scope]));
  const { body } = await ask(`/token?${query.toString()}`, { headers });
  return (JSON.parse(String(body)) as { token: string }).token;
}

function bearer(token: string): { headers: { authorization: string } } {
  return { headers: { authorization: `Bearer ${token}` } };
}

/** As a thief of the store has it. */
function signingKey({ mirror }: GuardedScene): KeyObject {
  const text = readFileSync(join(mirror.storePath, 'access-keys.json'), 'utf8');
  const { keys } = JSON.parse(text) as { keys: { pem: string }[] };
  return createPrivateKey(keys[0]!.pem);
}

/** It opens nothing, and keeps nobody from what is open. */
async function saysNothing(
  t: ExecutionContext,
  { ask }: GuardedScene,
  token: string,
  told: string,
) {
  t.is((await ask(PRIVATE, bearer(token))).status, 401, told);
  t.is((await ask('/v2/', bearer(token))).status, 401, told);
  t.is((await ask(OPEN, bearer(token))).status, 200, told);
}

test('a token with one claim or one line of its head changed says nothing, although our own key signs it', async (t) => {
  const clock = new Clock();
  const scene = await startGuardedScene(t, { clock });
  const right = await tokenOf(scene, basic('alice', 'wonder'));
  const [head, claims] = [decodeProtectedHeader(right) as JWTHeaderParameters, decodeJwt(right)];
  const key = signingKey(scene);
  const sign = async (
    change: Readonly<Record<string, unknown>>,
    { in: headChange = {}, by = key }: { in?: object; by?: KeyObject | Uint8Array } = {},
  ): Promise<string> =>
    new SignJWT({ ...claims, ...change }).setProtectedHeader({ ...head, ...headChange }).sign(by);
  t.is((await scene.ask(PRIVATE, bearer(await sign({})))).status, 200);
  const now = Math.floor(clock.wall() / 1000);
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const publicPem = createPublicKey(key).export({ type: 'spki', format: 'pem' });
  const { kid, ...withoutKid } = head;
  const cases: Record<string, string> = {
    expired: await sign({ exp: now - 6 }),
    'not yet valid': await sign({ nbf: now + 60 }),
    'without an end': await sign({ exp: undefined }),
    'without a beginning': await sign({ nbf: undefined }),
    'without the time of its making': await sign({ iat: undefined }),
    'for somebody else': await sign({ aud: 'registry.example' }),
    'for nobody': await sign({ aud: undefined }),
    'by somebody else': await sign({ iss: 'https://id.example' }),
    'with another name of the key': await sign({}, { in: { kid: '../../keys/0' } }),
    'without a name of the key': await new SignJWT(claims).setProtectedHeader(withoutKid).sign(key),
    'by another key of the same name': await sign({}, { by: stranger }),
    'by a key that it brings along': await sign(
      {},
      { by: stranger, in: { jwk: createPublicKey(stranger).export({ format: 'jwk' }) } },
    ),
    'of another type': await sign({}, { in: { typ: 'JWT' } }),
    'by our public key as a shared secret': await sign(
      {},
      { in: { alg: 'HS256' }, by: createSecretKey(Buffer.from(publicPem)) },
    ),
    'with an extension that must be understood': [
      Buffer.from(JSON.stringify({ ...head, crit: ['x'], x: 1 })).toString('base64url'),
      ...right.split('.').slice(1),
    ].join('.'),
  };
  for (const alg of ['none', 'None', 'NONE', '']) {
    const unsigned = [{ ...head, alg }, claims].map((part) =>
      Buffer.from(JSON.stringify(part)).toString('base64url'),
    );
    cases[`by the algorithm "${alg}"`] = `${unsigned.join('.')}.`;
    cases[`by the algorithm "${alg}", with a signature`] =
      `${unsigned.join('.')}.${right.split('.')[2]}`;
  }
  const others = { ...(claims['ent'] as object), subject: { names: ['user:ops'] } };
  const [first, , last] = right.split('.');
  const swapped = Buffer.from(JSON.stringify({ ...claims, ent: others })).toString('base64url');
  cases['with other claims under the same signature'] = `${first}.${swapped}.${last}`;
  cases['cut'] = right.slice(0, -1);
  t.truthy(kid);
  for (const [what, token] of Object.entries(cases)) await saysNothing(t, scene, token, what);
  // What was believed once ends all the same.
  t.is((await scene.ask(PRIVATE, bearer(right))).status, 200);
  clock.advance(5 * MINUTE + 6_000);
  await saysNothing(t, scene, right, 'past its end');
});

test('a token that was believed says nothing once its account is gone, its password changed or its API token revoked', async (t) => {
  const clock = new Clock();
  const scene = await startGuardedScene(t, { clock });
  const { ask, admin, htpasswd } = scene;
  const create = async (expires: string): Promise<{ id: string; secret: string }> => {
    const { body } = await admin('/api/v1/tokens', {
      method: 'POST',
      headers: basic('ops', 'ops'),
      body: JSON.stringify({ name: 'ci', expires }),
    });
    return JSON.parse(String(body)) as { id: string; secret: string };
  };
  const [revoked, short] = [await create('1d'), await create('2m')];
  const tokens = {
    user: await tokenOf(scene, basic('alice', 'wonder')),
    revoked: await tokenOf(scene, basic('x', revoked.secret)),
    short: await tokenOf(scene, basic('x', short.secret)),
  };
  for (const token of Object.values(tokens)) t.is((await ask(PRIVATE, bearer(token))).status, 200);
  const path = `/api/v1/tokens/${revoked.id}`;
  t.is((await admin(path, { method: 'DELETE', headers: basic('ops', 'ops') })).status, 204);
  for (const token of [tokens.revoked, revoked.secret])
    await saysNothing(t, scene, token, 'revoked');
  // Within a minute; here at once, for no time has passed.
  writeUsers(htpasswd, { alice: 'another', ops: 'ops' });
  await saysNothing(t, scene, tokens.user, 'password changed');
  t.is((await ask(PRIVATE, { headers: basic('alice', 'wonder') })).status, 401);
  const anew = await tokenOf(scene, basic('alice', 'another'));
  t.is((await ask(PRIVATE, bearer(anew))).status, 200);
  writeUsers(htpasswd, { ops: 'ops' });
  await saysNothing(t, scene, anew, 'account gone');
  t.is((await ask(PRIVATE, { headers: basic('alice', 'another') })).status, 401);
  // A file that is gone lets nobody back in.
  rmSync(htpasswd);
  await saysNothing(t, scene, anew, 'file gone');
  t.is((await ask(PRIVATE, bearer(tokens.short))).status, 200);
  clock.advance(2 * MINUTE);
  await saysNothing(t, scene, tokens.short, 'its API token has ended');
});

test('a scope that is wider than the rights of its subject gives no more than these', async (t) => {
  const scene = await startGuardedScene(t);
  const { ask } = scene;
  const wide = [
    SCOPE,
    `repository:${HUB}/org/private:pull,push,delete,*`,
    'repository:**:pull',
    `repository:${HUB}/*:*`,
    'repository:org/private:*',
    'repository(plugin):org/private:pull',
    'registry:catalog:*',
    'registry:catalog:*,list',
    `repository:${HUB}/../${HUB}/org/private:pull`,
  ];
  const bob = await tokenOf(scene, basic('bob', 'bob'), wide);
  t.is((await ask(PRIVATE, bearer(bob))).status, 404);
  t.is((await ask('/v2/org/private/tags/list', bearer(bob))).status, 404);
  t.deepEqual(JSON.parse(String((await ask('/v2/_catalog', bearer(bob))).body)), {
    repositories: [],
  });
  const nobody = await tokenOf(scene, {}, wide);
  t.is((await ask(PRIVATE, bearer(nobody))).status, 401);
  // And globs in a scope are names that no repository has.
  const glob = await tokenOf(scene, basic('alice', 'wonder'), wide.slice(2, 4));
  t.is((await ask(PRIVATE, bearer(glob))).status, 401);
  const { status } = await ask(`/token?${'scope=x&'.repeat(101)}`, {
    headers: basic('bob', 'bob'),
  });
  t.is(status, 400);
});

test('what stands in the query is no credential, and in no log', async (t) => {
  const scene = await startGuardedScene(t);
  const token = await tokenOf(scene, basic('alice', 'wonder'));
  const { body } = await scene.admin('/api/v1/tokens', {
    method: 'POST',
    headers: basic('ops', 'ops'),
    body: JSON.stringify({ name: 'ci' }),
  });
  const { secret } = JSON.parse(String(body)) as { secret: string };
  for (const name of ['access_token', 'token', 'authorization', 'refresh_token', 'password']) {
    for (const value of [token, secret, `Bearer ${token}`, 'wonder']) {
      const query = new URLSearchParams({ [name]: value, username: 'alice', account: 'alice' });
      t.is((await scene.ask(`${PRIVATE}?${query.toString()}`)).status, 401);
      t.is((await scene.ask(`/v2/?${query.toString()}`)).status, 401);
      t.is((await scene.ask(`/token?${query.toString()}`)).status, 401);
      t.is((await scene.admin(`/api/v1/status?${query.toString()}`)).status, 401);
    }
  }
  const told = JSON.stringify(scene.mirror.log);
  t.false(told.includes(secret) || told.includes(token) || told.includes('wonder'));
});

test('a megabyte is read as no credential, wherever it stands', async (t) => {
  const scene = await startGuardedScene(t);
  const { ask, mirror } = scene;
  const large = 'A'.repeat(2 ** 20);
  const { port } = new URL(mirror.url);
  const headers = `Host: x\r\nConnection: close\r\nAuthorization: Bearer ${large}\r\n\r\n`;
  t.regex(await rawRequest(Number(port), `GET ${OPEN} HTTP/1.1\r\n${headers}`), /^HTTP\/1\.1 431 /);
  for (const fields of [
    { grant_type: 'password', username: 'alice', password: large },
    { grant_type: 'password', username: large, password: 'wonder' },
    { grant_type: 'refresh_token', refresh_token: large },
  ]) {
    t.is((await ask('/token', form({ ...fields, scope: SCOPE }))).status, 400);
  }
  // What still fits into a head is compared with nothing.
  for (const size of [7_000, 9_000, 20_000]) {
    await saysNothing(t, scene, 'A'.repeat(size), String(size));
    await saysNothing(t, scene, `ent_${'a'.repeat(size)}`, String(size));
  }
  // Of a body of unknown length nothing is read.
  const chunked = `POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n`;
  t.regex(await rawRequest(Number(port), chunked), /^HTTP\/1\.1 400 /);
});

test('of several Authorization headers the first one counts alone', async (t) => {
  const { mirror } = await startGuardedScene(t);
  const port = Number(new URL(mirror.url).port);
  const [alice, bob] = [basic('alice', 'wonder'), basic('bob', 'bob')];
  const ask = async (...shown: readonly string[]): Promise<string> => {
    const lines = shown.map((each) => `Authorization: ${each}\r\n`).join('');
    const head = `GET ${PRIVATE} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: close\r\n`;
    const answer = await rawRequest(port, `${head}${lines}\r\n`);
    return answer.split(' ')[1]!;
  };
  t.is(await ask(alice.authorization, bob.authorization), '200');
  t.is(await ask(bob.authorization, alice.authorization), '404');
  t.is(await ask('Bearer x', alice.authorization), '401');
  t.is(await ask(`${bob.authorization}, ${alice.authorization}`), '401');
  t.is(
    await ask(...Array.from({ length: 500 }, () => bob.authorization), alice.authorization),
    '404',
  );
  t.is(await ask('', alice.authorization), '401');
});

test('a password with more behind it, or of which bcrypt sees the beginning alone, is another one', async (t) => {
  const { ask, htpasswd } = await startGuardedScene(t);
  const long = 'x'.repeat(80);
  writeUsers(htpasswd, { alice: 'wonder', long: long.slice(0, 72) });
  const login = async (user: string, password: string): Promise<number> =>
    (await ask('/token', { headers: basic(user, password) })).status;
  t.is(await login('alice', 'wonder'), 200);
  t.is(await login('long', long.slice(0, 72)), 200);
  for (const password of [
    'wonder\0',
    'wonder\0x',
    'wonder ',
    'wonder\n',
    '\0wonder',
    '',
    'WONDER',
  ]) {
    t.is(await login('alice', password), 401, JSON.stringify(password));
  }
  t.is(await login('long', long), 401);
  for (const user of ['alice\0', ' alice', 'Alice', 'alice\n', 'user:alice', '*', '__proto__']) {
    t.is(await login(user, 'wonder'), 401, JSON.stringify(user));
  }
});
