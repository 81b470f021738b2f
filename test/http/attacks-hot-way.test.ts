/** Ways into the short way of what is hot: nothing comes out by it that the application would not give now. */
import { Agent } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import { basic, HUB, PRIVATE, startGuardedScene, writeUsers } from '../access/guarded-scene.ts';
import { get, rawRequest, type GetOptions } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { startMirror, type TestMirror } from '../helpers/mirror.ts';
import { applied } from './applied.ts';

const OTHER = 'other.example';
const HERE = buildImage({ seed: 'here', layers: [1000] });
const THERE = buildImage({ seed: 'there', layers: [1000] });
const MANIFEST = '/v2/library/app/manifests/v1';
const MIB = 2 ** 20;

interface World {
  readonly mirror: TestMirror;
  readonly registry: FakeRegistry;
  readonly upstreams: Record<string, { url: string; hosts?: string[]; tags: { ttlMs: number } }>;
}

/** Two upstreams that have each another image of the name. */
async function startWorld(t: ExecutionContext): Promise<World> {
  const [registry, second] = [await FakeRegistry.start(t), await FakeRegistry.start(t)];
  registry.addImage('library/app', 'v1', HERE);
  second.addImage('library/app', 'v1', THERE);
  const tags = { ttlMs: 600_000 };
  const upstreams = {
    [HUB]: { url: registry.url, tags },
    [OTHER]: { url: second.url, hosts: ['app.example'], tags },
  };
  const mirror = await startMirror(t, { upstreams, trustProxy: ['127.0.0.0/8'] });
  return { mirror, registry, upstreams };
}

const TARGETS = [
  `GET ${MANIFEST} HTTP/1.1`,
  `GET ${MANIFEST}?ns=${OTHER} HTTP/1.1`,
  'GET /v2/ HTTP/1.1',
  `HEAD ${MANIFEST} HTTP/1.1`,
  `GET ${MANIFEST} HTTP/1.0`,
  `get ${MANIFEST} HTTP/1.1`,
  `POST ${MANIFEST} HTTP/1.1`,
  `GET http://app.example${MANIFEST} HTTP/1.1`,
  `GET https://a.example${MANIFEST} HTTP/1.1`,
  `GET /${MANIFEST} HTTP/1.1`,
  'GET /v2//library/app/manifests/v1 HTTP/1.1',
  'GET /v2/library%2Fapp/manifests/v1 HTTP/1.1',
  'GET /v2/library/%61pp/manifests/%761 HTTP/1.1',
  `GET ${MANIFEST}/ HTTP/1.1`,
  `GET ${MANIFEST}#x HTTP/1.1`,
  ...['', 'ns=', `ns=${HUB}&ns=${OTHER}`, `ns=${OTHER}&ns=${HUB}`, `NS=${OTHER}`].map(
    (query) => `GET ${MANIFEST}?${query} HTTP/1.1`,
  ),
  `GET ${MANIFEST}?%6es=${OTHER} HTTP/1.1`,
  'GET //v2/ HTTP/1.1',
  `GET /${OTHER}/v2/ HTTP/1.1`,
];
const HOST = 'Host: a.example';
const HOSTS = [
  [HOST],
  [HOST, `OCI-Namespace: ${OTHER}`],
  [HOST, 'X-Forwarded-Host: app.example'],
  [],
  ['Host:'],
  ['Host: APP.example'],
  ['Host: app.example:5000'],
  ['Host: app.example.'],
  ['Host: app.example:99999999'],
  [HOST, 'Host: app.example'],
  ['Host: app.example', HOST],
  ['Host: user@a.example'],
  ['Host: [::1'],
  // By a blank the one below would be the one after it.
  [HOST, 'OCI-Namespace: b c'],
  [`${HOST} b`, 'OCI-Namespace: c'],
  [HOST, 'OCI-Namespace: OTHER.example'],
  [HOST, 'OCI-Namespace:'],
  [HOST, `OCI-Namespace: ${OTHER}`, `OCI-Namespace: ${HUB}`],
  ['X-Forwarded-Host: app.example'],
  ['Host: b d', 'X-Forwarded-Host: app.example'],
  ['Host: b/d', 'X-Forwarded-Host: a.example'],
  [HOST, 'X-Forwarded-Host: b d'],
  [HOST, 'X-Forwarded-Host: a.example, app.example'],
];
const HEADERS = [
  'Accept: */*;q=0',
  'Accept: application/vnd.docker.distribution.manifest.v1+json',
  'Accept: text/plain\r\nAccept: application/vnd.oci.image.manifest.v1+json',
  `Accept: ${'a/b,'.repeat(1000)}*/*`,
  `If-None-Match: "x"\r\nIf-None-Match: "${HERE.manifest.digest}"`,
  `If-None-Match: ${HERE.manifest.digest}`,
  'If-None-Match: "x", *',
  'Content-Length: 0',
  'Expect: 100-continue',
  'Expect: other',
  'Upgrade: websocket',
  'X-Request-Id: <script>',
  `X-Request-Id: ${'x'.repeat(129)}`,
  'X-Request-Id: a\r\nX-Request-Id: b',
  'X-Request-Id: ghp_0123456789abcdefghijABCDEFGHIJ012345',
  'traceparent: rubbish',
  'Authorization: Bearer x',
  'X-Forwarded-For: rubbish',
  'Cache-Control:',
  Array.from({ length: 2010 }, (_, n) => `X-${n}: 1`).join('\r\n'),
].map((line) => [HOST, line]);

test.serial('what is odd about a request is judged as the application judges it', async (t) => {
  const { mirror } = await startWorld(t);
  const { port } = new URL(mirror.url);
  const [target = ''] = TARGETS;
  const asks = [
    ...TARGETS.slice(0, 3).flatMap((line) => HOSTS.map((headers) => [line, ...headers])),
    ...HOSTS.slice(0, 3).flatMap((headers) => TARGETS.slice(3).map((line) => [line, ...headers])),
    ...HEADERS.map((headers) => [target, ...headers]),
  ];
  const ask = async (lines: readonly string[], more: readonly string[]): Promise<string> => {
    const text = [...lines, ...more, 'Connection: close', '', ''].join('\r\n');
    const received = await rawRequest(Number(port), text);
    return received.replaceAll(/^(?:Date|Age): .*$|(?<=^X-Request-Id: )[\da-f-]{36}\r$/gm, '');
  };
  const askAll = async (...more: string[]): Promise<string[]> => {
    const answers: string[] = [];
    for (const lines of asks) answers.push(await ask(lines, more));
    return answers;
  };
  await askAll();
  const long = await askAll('Via: 1.1 elsewhere');
  const before = applied.count;
  const short = await askAll();
  const hot = asks.length - (applied.count - before);
  t.true(hot > 40, `${hot} of ${asks.length} are hot`);
  for (const [place, lines] of asks.entries())
    t.is(short[place], long[place], lines.join(' | ').slice(0, 200));
});

test.serial(
  'many are ahead on one connection, behind one that waits: each is answered in its turn',
  async (t) => {
    const { mirror, registry } = await startWorld(t);
    const { port } = new URL(mirror.url);
    registry.addImage('library/slow', 'v1', THERE);
    const lines = (path: string, more = ''): string =>
      `GET ${path} HTTP/1.1\r\n${HOST}\r\n${more}\r\n`;
    for (let n = 0; n < 2; n += 1) t.is((await get(`${mirror.url}${MANIFEST}`)).status, 200);
    await rawRequest(Number(port), lines(MANIFEST, 'Connection: close\r\n'));
    const gate = registry.hold('/v2/library/slow/manifests/v1');
    const count = 300;
    const received = rawRequest(
      Number(port),
      lines('/v2/library/slow/manifests/v1') +
        lines(MANIFEST).repeat(count) +
        lines('/', 'Connection: close\r\n'),
    );
    await gate.arrived();
    gate.open();
    const digests = [...(await received).matchAll(/^Docker-Content-Digest: (\S+)/gm)].map(
      ([, digest]) => digest,
    );
    const expected = Array.from({ length: count }, () => HERE.manifest.digest);
    t.deepEqual(digests, [THERE.manifest.digest, ...expected]);
  },
);

test.serial(
  'a connection that is kept gives no more than another one, whatever has changed',
  async (t) => {
    const { mirror, upstreams } = await startWorld(t);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.teardown(() => agent.destroy());
    const ask = async (path = MANIFEST, options: GetOptions = {}) => {
      const { status, headers } = await get(`${mirror.url}${path}`, { agent, ...options });
      return { status, digest: headers['docker-content-digest'] };
    };
    const [here, there] = [HERE, THERE].map(({ manifest: { digest } }) => ({
      status: 200,
      digest,
    }));
    const warm = async (answer: object | undefined): Promise<void> => {
      for (let n = 0; n < 3; n += 1) t.deepEqual(await ask(), answer);
      const before = applied.count;
      t.deepEqual(await ask(), answer);
      t.is(applied.count, before, 'it is hot');
    };
    const trustProxy = ['127.0.0.0/8'];
    const reload = async (next: object): Promise<void> => {
      t.is((await mirror.reload({ upstreams, trustProxy, ...next })).status, 200);
    };
    await warm(here);
    // Admission refuses what it let pass before it was there.
    const young = { images: [`${HUB}/**`], mode: 'enforce', minAge: 3_600_000 };
    await reload({ admission: { trust: {}, rules: [young] } });
    for (let n = 0; n < 3; n += 1) t.is((await ask()).status, 403);
    await reload({ admission: { trust: {}, rules: [{ ...young, images: [`${OTHER}/**`] }] } });
    await warm(here);
    const { [HUB]: first, [OTHER]: second } = upstreams;
    // The first one is the default.
    await reload({ upstreams: { [OTHER]: second, [HUB]: first } });
    await warm(there);
    await reload({ upstreams: { [OTHER]: second } });
    t.is((await ask(`${MANIFEST}?ns=${HUB}`)).status, 404);
    await reload({ upstreams: { [HUB]: { ...first, hosts: ['a.example'] }, [OTHER]: second } });
    await warm(here);
    const headers = { 'x-forwarded-host': 'app.example' };
    for (let n = 0; n < 3; n += 1) t.deepEqual(await ask(MANIFEST, { headers }), there);
    await reload({ trustProxy: [] });
    t.deepEqual(await ask(MANIFEST, { headers }), here);
    const removed = await get(`${mirror.server.adminUrl}/api/v1/rm`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ image: `${HUB}/library/app:v1` }),
    });
    t.is(removed.status, 200, String(removed.body));
    const anew = await get(`${mirror.url}${MANIFEST}`, { agent });
    t.is(anew.headers['cache-status'], 'entrepot; fwd=miss; stored');
  },
);

test.serial('who has lost a right has lost it on the connection that is kept, too', async (t) => {
  const { mirror, registry, htpasswd, admin } = await startGuardedScene(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const path = `/v2/org/private/manifests/${PRIVATE.manifest.digest}`;
  const ask = async (headers: GetOptions['headers'], of = path) =>
    (await get(`${mirror.url}${of}`, { agent, ...(headers && { headers }) })).status;
  const bearer = async (user: string, secret: string) => {
    const url = `${mirror.url}/token?service=x&scope=repository:org/private:pull`;
    const { body } = await get(url, { headers: basic(user, secret) });
    return { authorization: `Bearer ${(JSON.parse(String(body)) as { token: string }).token}` };
  };
  const made = await admin('/api/v1/tokens', {
    method: 'POST',
    headers: basic('ops', 'ops'),
    body: JSON.stringify({ name: 'ci', expires: '1d' }),
  });
  const { id, secret } = JSON.parse(String(made.body)) as { id: string; secret: string };
  const [alice, ci] = [await bearer('alice', 'wonder'), await bearer('x', secret)];
  const warm = async (headers: GetOptions['headers']): Promise<void> => {
    for (let n = 0; n < 3; n += 1) t.is(await ask(headers), 200);
    const before = applied.count;
    t.is(await ask(headers), 200);
    t.is(applied.count, before, 'it is hot');
  };
  await warm(alice);
  await warm(ci);
  t.is(await ask({}), 401);
  const revoked = await admin(`/api/v1/tokens/${id}`, {
    method: 'DELETE',
    headers: basic('ops', 'ops'),
  });
  t.is(revoked.status, 204);
  t.is(await ask(ci), 401);
  await warm(alice);
  // Fewer rights, and then none without a name where there were no rules at all.
  const upstreams = { [HUB]: { url: registry.url } };
  const access = { token: { ttl: 300_000 }, htpasswd: { file: htpasswd } };
  const rule = { who: ['user:alice'], may: ['pull' as const], images: [`${HUB}/library/**`] };
  t.is((await mirror.reload({ upstreams, access: { ...access, rules: [rule] } })).status, 200);
  t.is(await ask(alice), 404);
  const wide = { ...rule, images: [`${HUB}/**`] };
  t.is((await mirror.reload({ upstreams, access: { ...access, rules: [wide] } })).status, 200);
  await warm(alice);
  writeUsers(htpasswd, { alice: 'another', ops: 'ops' });
  t.is(await ask(alice), 401);
  // What is hot is no place to guess passwords at.
  const guesses = Array.from({ length: 20 }, (_, n) => basic('alice', `wrong-${n}`));
  const said = new Set<number>();
  for (const guess of guesses) said.add(await ask(guess));
  t.deepEqual([...said], [401, 429]);
});

test.serial('what is remembered of requests is little, however much they say', async (t) => {
  const { mirror } = await startWorld(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const ask = async (from: number): Promise<number> => {
    const asked = applied.count;
    for (let n = from; n < from + 150; n += 1) {
      const accept = `*/*, text/${Buffer.alloc(50_000, 'x').toString()}${n}`;
      const url = `${mirror.url}${MANIFEST}?n=${n}`;
      for (let time = 0; time < 2; time += 1) {
        t.is((await get(url, { agent, headers: { accept } })).status, 200);
      }
    }
    t.is(applied.count - asked, 150, 'each is hot the second time');
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = await ask(0);
  // So many are 7.5 MB.
  const grown = (await ask(150)) - before;
  t.true(grown < 3 * MIB, `${grown} bytes`);
});
