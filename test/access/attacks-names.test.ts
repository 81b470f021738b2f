/** Names of repositories, hosts and addresses, written so that rules could judge another one than is served. */
import test, { type ExecutionContext } from 'ava';
import { get, rawRequest } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { createTempFolder, startMirror, type MirrorOptions } from '../helpers/mirror.ts';
import { basic, HUB, OPEN, PRIVATE, startGuardedScene, writeUsers } from './guarded-scene.ts';
import { join } from 'node:path';

const ALICE = basic('alice', 'wonder');

/** Of `library/open`, which is everybody's, and `org/private`, which is not. */
const ODD_PATHS = [
  '/v2/library/open/../../org/private/manifests/v1',
  '/v2/library/../org/private/manifests/v1',
  '/v2/library/open/%2e%2e/%2e%2e/org/private/manifests/v1',
  '/v2/library/open/%2E%2E%2F%2E%2E%2Forg%2Fprivate/manifests/v1',
  '/v2/library%2f..%2forg/private/manifests/v1',
  '/v2/org%2Fprivate/manifests/v1',
  '/v2/org%252Fprivate/manifests/v1',
  '/v2/%6Frg/private/manifests/v1',
  '/v2/org/%70rivate/manifests/v1',
  '/v2/%256Frg/private/manifests/v1',
  '/v2//org/private/manifests/v1',
  '/v2/org//private/manifests/v1',
  '/v2/./org/private/manifests/v1',
  '/v2/org/./private/manifests/v1',
  '/v2/org/private//manifests/v1',
  '/v2/org/private/manifests//v1',
  '/v2/org/private/manifests/v1/',
  '/v2/org/private/./manifests/v1',
  '//v2/org/private/manifests/v1',
  '/V2/org/private/manifests/v1',
  '/v2/ORG/private/manifests/v1',
  '/v2/Org/Private/manifests/v1',
  '/v2/org/private/Manifests/v1',
  '/v2/org/private/manifests/V1',
  '/v2/org/private%00/manifests/v1',
  '/v2/org/private%20/manifests/v1',
  '/v2/org/private;x=y/manifests/v1',
  '/v2/org/private%3Fx/manifests/v1',
  '/v2/org/private%23x/manifests/v1',
  '/v2/org\\private/manifests/v1',
  '/v2/library\\..\\org\\private/manifests/v1',
  '/v2/org%5Cprivate/manifests/v1',
  // Full-width letters, a combining mark, a soft hyphen, an overlong slash, and what no UTF-8 is.
  '/v2/%EF%BD%8Frg/private/manifests/v1',
  '/v2/org/privat%C3%A9/manifests/v1',
  '/v2/org/pri%C2%ADvate/manifests/v1',
  '/v2/org%C0%AFprivate/manifests/v1',
  '/v2/org/private%FF/manifests/v1',
  // The last keyword divides: what is before it is the name.
  '/v2/library/open/manifests/org/private/manifests/v1',
  '/v2/library/open/blobs/../../../org/private/manifests/v1',
  '/v2/org/private/manifests/v1%2F..%2F..%2F..%2Flibrary%2Fopen%2Fmanifests%2Fv1',
  '/v2/org/private/tags/list/../../manifests/v1',
  `/v2/${HUB}/org/private/manifests/v1`,
  `/v2/${HUB.toUpperCase()}/org/private/manifests/v1`,
  `/v2/${HUB}./org/private/manifests/v1`,
  `/v2/${HUB}:443/org/private/manifests/v1`,
  `/v2/${HUB}_443/org/private/manifests/v1`,
  `/v2/${HUB}/${HUB}/org/private/manifests/v1`,
  `/${HUB}/v2/org/private/manifests/v1`,
  `/${HUB}/v2/${HUB}/org/private/manifests/v1`,
  `/v2/v2/org/private/manifests/v1`,
  `/v2/org/private/manifests/v1?ns=${HUB}`,
  `/v2/org/private/manifests/v1?ns=${HUB}&ns=other.example`,
  `/v2/org/private/manifests/v1?ns=other.example&ns=${HUB}`,
  `/v2/org/private/manifests/v1?ns[]=${HUB}`,
  `/v2/org/private/manifests/v1?%6Es=${HUB}`,
  `/v2/org/private/manifests/v1?ns=${HUB}%00`,
  `/v2/org/private/manifests/v1?ns=${HUB}%2Flibrary`,
  `http://x/v2/org/private/manifests/v1`,
  `http://library/v2/library/open/../../org/private/manifests/v1`,
];

test('however a path is written, the repository that is judged is the one that is served', async (t) => {
  const { mirror, registry } = await startGuardedScene(t);
  const { port } = new URL(mirror.url);
  const ask = async (path: string, authorization = ''): Promise<string> => {
    const shown = authorization === '' ? '' : `Authorization: ${authorization}\r\n`;
    const head = `Host: x\r\nAccept: */*\r\nConnection: close\r\n${shown}\r\n`;
    return rawRequest(Number(port), `GET ${path} HTTP/1.1\r\n${head}`);
  };
  for (const path of ODD_PATHS) {
    for (const shown of ['', basic('bob', 'bob').authorization]) {
      const answer = await ask(path, shown);
      t.regex(answer, /^HTTP\/1\.1 (?:400|401|404) /, `${path} ${answer}`);
      t.false(answer.includes(PRIVATE.config.digest), path);
      t.notRegex(answer, /docker-content-digest/i, path);
    }
  }
  const others = (): string[] =>
    registry.conversation().filter((line) => !/^[A-Z]+ \/v2\/library\/open\//.test(line));
  t.deepEqual(others(), []);
  // What finds it for who may, is judged under its one name for who may not.
  let found = 0;
  for (const path of ODD_PATHS) {
    if (!(await ask(path, ALICE.authorization)).startsWith('HTTP/1.1 200')) continue;
    found += 1;
    t.regex(await ask(path), /scope="repository:hub\.example\/org\/private:pull"/, path);
  }
  t.true(found > 5);
  const odd = others().filter((line) => !/^[A-Z]+ \/v2\/org\/private\//.test(line));
  // Nothing of the spelling is passed on.
  t.deepEqual(
    odd.filter((line) => /%|\.\.|\/\//.test(line)),
    [],
  );
});

async function startNetworks(t: ExecutionContext, options: Partial<MirrorOptions> = {}) {
  const registry = await FakeRegistry.start(t);
  registry.addImage('org/inside', 'v1', PRIVATE);
  registry.addImage('org/desk', 'v1', OPEN);
  const htpasswd = join(await createTempFolder(t), 'htpasswd');
  writeUsers(htpasswd, { alice: 'wonder' });
  const mirror = await startMirror(t, {
    upstreams: { [HUB]: { url: registry.url } },
    access: {
      token: { ttl: 300_000 },
      htpasswd: { file: htpasswd },
      rules: [
        {
          who: ['anonymous'],
          from: ['10.2.0.0/16', '2001:db8::/32'],
          may: ['pull'],
          images: [`${HUB}/org/inside`],
        },
        { who: ['user:alice'], from: ['10.3.0.0/16'], may: ['pull'], images: [`${HUB}/org/desk`] },
      ],
    },
    ...options,
  });
  const ask = async (name: string, headers: Record<string, string | string[]>) => {
    const path = `/v2/org/${name}/manifests/v1`;
    return (await get(`${mirror.url}${path}`, { headers: { accept: '*/*', ...headers } })).status;
  };
  return { mirror, ask };
}

const FORGED: readonly Readonly<Record<string, string | string[]>>[] = [
  { 'x-forwarded-for': '10.2.0.1' },
  { 'x-forwarded-for': '10.2.0.1, 10.2.0.2' },
  { 'x-forwarded-for': ['10.2.0.1', '10.2.0.2'] },
  { 'x-forwarded-for': '::ffff:10.2.0.1' },
  { 'x-forwarded-for': '2001:db8::1' },
  { forwarded: 'for=10.2.0.1' },
  { 'x-real-ip': '10.2.0.1' },
  { 'x-client-ip': '10.2.0.1', 'true-client-ip': '10.2.0.1', 'cf-connecting-ip': '10.2.0.1' },
];

test('whom no trusted proxy speaks for is where its connection comes from', async (t) => {
  const { ask } = await startNetworks(t);
  for (const headers of FORGED) {
    t.is(await ask('inside', headers), 401, JSON.stringify(headers));
    t.is(await ask('desk', { ...ALICE, ...headers }), 404, JSON.stringify(headers));
  }
});

test('of the addresses that a trusted proxy tells the last one before it counts, and no other header', async (t) => {
  const { ask } = await startNetworks(t, { trustProxy: ['127.0.0.1', '10.9.0.0/16'] });
  const from = async (told: string): Promise<number> => ask('inside', { 'x-forwarded-for': told });
  for (const told of [
    '10.2.0.1',
    '1.2.3.4, 10.2.0.1',
    '10.2.0.1, 10.9.0.1',
    '10.2.0.1:4711',
    '[2001:db8::1]:1',
  ]) {
    t.is(await from(told), 200, told);
  }
  // What a client says of itself stands before what the proxy saw.
  for (const told of [
    '10.2.0.1, 1.2.3.4',
    '10.2.0.1, 1.2.3.4, 10.9.0.1',
    '10.2.0.1, unknown',
    '10.2.0.1,',
    'unknown, 1.2.3.4',
    '10.2.0.1 1.2.3.4',
    '10.2.0.999',
    '0x0a020001',
    '',
  ]) {
    t.is(await from(told), 401, told);
  }
  for (const headers of FORGED.slice(5))
    t.is(await ask('inside', headers), 401, JSON.stringify(headers));
  t.is(await ask('desk', { ...ALICE, 'x-forwarded-for': '10.3.0.1' }), 200);
  t.is(await ask('desk', { ...ALICE, 'x-forwarded-for': '10.3.0.1, 10.2.0.1' }), 404);
  t.is(await ask('desk', { 'x-forwarded-for': '10.3.0.1' }), 401);
});

test('where passwords are to be sent is said to each client alone, by the host that it asked for', async (t) => {
  const { mirror } = await startGuardedScene(t);
  const { port, host } = new URL(mirror.url);
  const ask = async (path: string, lines: string): Promise<string> =>
    rawRequest(Number(port), `GET ${path} HTTP/1.1\r\nConnection: close\r\n${lines}\r\n`);
  for (const path of ['/v2/', '/v2/org/private/manifests/v1', '/v2/_catalog', `/${HUB}/v2/`]) {
    // Whoever says another host is told that one, and no cache keeps it for others.
    const attacked = await ask(path, 'Host: evil.example\r\n');
    t.regex(attacked, /realm="http:\/\/evil\.example\/token"/, path);
    t.regex(attacked, /\r\ncache-control: [^\r]*no-store/i, path);
    const next = await ask(path, `Host: ${host}\r\n`);
    t.true(next.includes(`realm="http://${host}/token"`), path);
    // No other header says it, and none ends the quoted text.
    for (const lines of [
      `Host: ${host}\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n`,
      `Host: ${host}\r\nForwarded: host=evil.example;proto=https\r\nX-Host: evil.example\r\n`,
      `Host: ${host}\r\nX-Original-Host: evil.example\r\nOrigin: http://evil.example\r\n`,
    ]) {
      t.true((await ask(path, lines)).includes(`realm="http://${host}/token"`), lines);
    }
    for (const lines of [
      `Host: evil.example\r\nHost: ${host}\r\n`,
      'Host: x",service="evil\r\n',
      'Host: user@evil.example\r\n',
      'Host: evil.example/token#\r\n',
      'Host: evil.example\\\r\n',
      'Host: evil.example, x\r\n',
    ]) {
      const answer = await ask(path, lines);
      t.regex(answer, /^HTTP\/1\.1 400 /, lines);
      t.notRegex(answer, /www-authenticate/i, lines);
    }
  }
});

test('the host of a trusted proxy is in the challenge, and in no token', async (t) => {
  const { mirror, ask } = await startGuardedScene(t, { trustProxy: ['127.0.0.1'] });
  const headers = { 'x-forwarded-host': 'mirror.example', 'x-forwarded-proto': 'https' };
  const { headers: sent } = await get(`${mirror.url}/v2/`, { headers });
  t.regex(String(sent['www-authenticate']), /^Bearer realm="https:\/\/mirror\.example\/token",/);
  const scope = `scope=repository:${HUB}/org/private:pull`;
  const { body } = await ask(`/token?${scope}`, { headers: { ...ALICE, host: 'evil.example' } });
  const { token } = JSON.parse(String(body)) as { token: string };
  t.false(Buffer.from(token.split('.')[1]!, 'base64url').toString().includes('evil'));
  const authorization = `Bearer ${token}`;
  t.is((await ask('/v2/org/private/manifests/v1', { headers: { authorization } })).status, 200);
});

test('nothing that a client says ends a header of the answer', async (t) => {
  const { ask, mirror } = await startGuardedScene(t);
  const { port } = new URL(mirror.url);
  const injected = '%0d%0aSet-Cookie:%20a=b%0d%0a';
  for (const path of [
    `/v2/org/private${injected}/manifests/v1`,
    `/v2/org/private/manifests/v1${injected}`,
    `/v2/org/private/manifests/v1?ns=${HUB}${injected}`,
    `/v2/_catalog?n=1&last=${injected}`,
    `/v2/library/open/referrers/${OPEN.manifest.digest}?artifactType=${injected}`,
    `/token?service=${injected}&scope=${injected}&account=${injected}`,
    `/${injected}/v2/`,
  ]) {
    for (const headers of [{}, ALICE]) {
      const answer = await ask(path, { headers });
      t.is(answer.headers['set-cookie'], undefined, path);
      t.notRegex(JSON.stringify(answer.headers), /Set-Cookie/i, path);
    }
  }
  const head = `Host: x\r\nConnection: close\r\nOCI-Namespace: ${HUB}\r\n Set-Cookie: a=b\r\n\r\n`;
  const folded = await rawRequest(Number(port), `GET /v2/a/b/manifests/v1 HTTP/1.1\r\n${head}`);
  t.notRegex(folded, /\r\nSet-Cookie/i);
});
