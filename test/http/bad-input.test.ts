import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { pino } from 'pino';
import { Listener } from '../../src/http/listener.ts';
import { createFakeAdmin } from '../admin/fake-admin.ts';
import { createCertificates } from '../helpers/certificate.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { get, rawRequest } from '../helpers/client.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import {
  createTempFolder,
  startMirror,
  type MirrorOptions,
  type TestMirror,
} from '../helpers/mirror.ts';
import {
  assertSpecError,
  codeOf,
  hasCauseFirst,
  parseAnswers,
  type RawAnswer,
} from './raw-answer.ts';

interface World {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  readonly image: Image;
  readonly port: number;
}

async function createWorld(
  t: ExecutionContext,
  options: Partial<MirrorOptions> = {},
): Promise<World> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 1, layers: [3000] });
  registry.addImage('app', 'v1', image);
  const mirror = await startMirror(t, {
    upstreams: { 'registry.example': { url: registry.url } },
    ...options,
  });
  return { registry, mirror, image, port: Number(new URL(mirror.url).port) };
}

const HEAD = 'HTTP/1.1\r\nHost: mirror\r\nConnection: close';

async function ask(port: number, path: string): Promise<RawAnswer> {
  const [answer] = parseAnswers(await rawRequest(port, `GET ${path} ${HEAD}\r\n\r\n`));
  if (!answer) throw new Error(`no answer to ${path.slice(0, 200)}`);
  return answer;
}

async function assertServes(t: ExecutionContext, { mirror, image }: World): Promise<void> {
  const answer = await get(`${mirror.url}/v2/app/manifests/v1`);
  t.is(answer.status, 200, 'the next client is served');
  t.deepEqual(answer.body, image.manifest.bytes);
}

const HEX = 'a'.repeat(64);

const NAMES = [
  'UPPER',
  'a/Upper/b',
  '-a',
  'a-',
  '_a',
  'a_',
  '.a',
  'a.',
  'a..b',
  'a___b',
  'a._b',
  'a%20b',
  'a:b',
  'a@b',
  'a+b',
  'a~b',
  '%C3%A9',
  '.',
  '..',
  '../app',
  '.x/app',
  'a/../app',
  'a/./app',
  '%2e%2e',
  'a/%2e%2e/app',
  'a//b',
  'a/',
  '%zz',
  'a%',
  'a%2',
  'a%2fb',
  'a%2Fb',
  'a%252fb',
  '%2561',
  'a%00',
  '%00',
  'a%0ab',
  'a%0d%0aX-Injected:%20yes',
  '%c0%af',
  '%ff',
  'a%5cb',
  'a\\b',
  '*',
  '{a}',
  '$(id)',
  'a;b',
  "a'b",
  'a"b',
  '<script>',
  '__proto__',
  'a'.repeat(256),
  `${'a/'.repeat(127)}ab`,
  'a-'.repeat(20_000),
];

test('a malformed name is NAME_INVALID and never reaches the upstream', async (t) => {
  const { registry, port } = await createWorld(t);
  for (const name of NAMES) {
    for (const rest of ['manifests/v1', `blobs/sha256:${HEX}`, 'tags/list']) {
      const message = `${name.slice(0, 60)}/${rest}`;
      const answer = await ask(port, `/v2/${name}/${rest}`);
      assertSpecError(t, answer, { message });
      t.is(answer.status, 400, message);
      t.is(codeOf(answer.body), 'NAME_INVALID', message);
      t.true(hasCauseFirst(answer.body), message);
      t.false(answer.headers.has('x-injected'), message);
    }
  }
  t.deepEqual(registry.conversation(), []);
});

test('a path with an empty component or none of the keywords is 404', async (t) => {
  const { registry, port } = await createWorld(t);
  for (const path of [
    '//',
    '/v1/',
    '/v3/',
    '/v2//manifests/v1',
    '//v2/app/manifests/v1',
    '/v2/app/manifests/',
    '/v2/app/manifests',
    '/v2/app/blobs/',
    '/v2/app/tags',
    '/v2/app/tags/list/',
    '/v2/manifests/v1',
    '/v2/app/blobs/uploads/',
    '/v2/app/unknown/v1',
    '/app/manifests/v1',
    '/V2/app/manifests/v1',
    '/favicon.ico',
  ]) {
    const answer = await ask(port, path);
    assertSpecError(t, answer, { message: path });
    t.is(answer.status, 404, path);
  }
  t.deepEqual(registry.conversation(), []);
});

const DIGESTS = [
  `sha256:${'A'.repeat(64)}`,
  `SHA256:${HEX}`,
  `sha256:${'a'.repeat(63)}`,
  `sha256:${'a'.repeat(65)}`,
  `sha256:${'g'.repeat(64)}`,
  'sha256:',
  'sha256:baddigeststring',
  `sha512:${HEX}`,
  `sha512:${'A'.repeat(128)}`,
  `md5:${'a'.repeat(32)}`,
  `sha1:${'a'.repeat(40)}`,
  `blake3:${HEX}`,
  `sha256:${HEX}:${HEX}`,
  `sha256+b64:${HEX}`,
  `sha256::${HEX}`,
  `:${HEX}`,
  ':',
  `__proto__:${HEX}`,
  `constructor:${HEX}`,
  `sha256:${HEX}%00`,
  `sha256:${HEX}%0a`,
  `sha256:${'a'.repeat(50_000)}`,
];

test('a malformed or unverifiable digest is DIGEST_INVALID wherever digests stand', async (t) => {
  const { registry, port } = await createWorld(t);
  for (const digest of DIGESTS) {
    for (const kind of ['blobs', 'manifests', 'referrers']) {
      const message = `${kind}/${digest.slice(0, 100)}`;
      const answer = await ask(port, `/v2/app/${kind}/${digest}`);
      assertSpecError(t, answer, { message });
      t.is(answer.status, 400, message);
      t.is(codeOf(answer.body), 'DIGEST_INVALID', message);
      t.true(hasCauseFirst(answer.body), message);
    }
  }
  for (const text of ['latest', HEX, 'sha256-abc', '%zz']) {
    for (const kind of ['blobs', 'referrers']) {
      assertSpecError(t, await ask(port, `/v2/app/${kind}/${text}`), { message: text });
    }
  }
  t.deepEqual(registry.conversation(), []);
});

test('a malformed tag is 404, badly encoded 400, and never reaches the upstream', async (t) => {
  const { registry, port } = await createWorld(t);
  for (const tag of [
    '.dot',
    '-dash',
    'a'.repeat(129),
    'a%20b',
    'a+b',
    '%C3%A9',
    '..',
    '%2e%2e',
    'a%2fb',
    'a%252f',
    'a%00',
    '%zz',
    'a%0d%0aX-Injected:%20yes',
  ]) {
    const answer = await ask(port, `/v2/app/manifests/${tag}`);
    assertSpecError(t, answer, { message: tag });
    // With a colon it is a digest.
    t.is(answer.status, /^a%2fb$|^%zz$|:/.test(tag) ? 400 : 404, tag);
    t.false(answer.headers.has('x-injected'), tag);
  }
  t.deepEqual(registry.conversation(), []);
});

test('a malformed n is PAGINATION_NUMBER_INVALID', async (t) => {
  const { registry, port } = await createWorld(t);
  for (const n of ['-1', 'abc', '1e3', '1.5', '', '%20', '+1', '0x10', 'NaN', '1;2', '%00']) {
    const answer = await ask(port, `/v2/app/tags/list?n=${n}`);
    assertSpecError(t, answer, { message: n });
    t.is(answer.status, 400, n);
    t.is(codeOf(answer.body), 'PAGINATION_NUMBER_INVALID', n);
    t.true(hasCauseFirst(answer.body), n);
  }
  t.deepEqual(registry.conversation(), []);
});

test('an ns that is no configured upstream is NAME_UNKNOWN and is never dialled', async (t) => {
  const { registry, port, mirror } = await createWorld(t);
  const other = await FakeRegistry.start(t);
  for (const ns of [
    other.host,
    registry.host,
    '127.0.0.1',
    `http://${other.host}`,
    `registry.example@${other.host}`,
    `registry.example:8080`,
    'registry.example.',
    'registry.example%00',
    '../registry.example',
    '__proto__',
    'constructor',
    '%zz',
    'x'.repeat(20_000),
  ]) {
    const answer = await ask(port, `/v2/app/manifests/v1?ns=${ns}`);
    assertSpecError(t, answer, { message: ns.slice(0, 80) });
    t.is(answer.status, 404, ns.slice(0, 80));
    t.is(codeOf(answer.body), 'NAME_UNKNOWN', ns.slice(0, 80));
  }
  // What looks like a registry must not become a namespace of another one.
  for (const name of ['other.example', 'localhost', 'ghcr.io', '127.0.0.1']) {
    const answer = await ask(port, `/v2/${name}/app/manifests/v1`);
    assertSpecError(t, answer, { message: name });
    t.is(codeOf(answer.body), 'NAME_UNKNOWN', name);
  }
  for (const prefix of [other.host, 'toString', '%00', '..']) {
    assertSpecError(t, await ask(port, `/${prefix}/v2/app/manifests/v1`), { message: prefix });
  }
  t.is(other.connections, 0);
  t.is(registry.connections, 0);
  await mirror.stop();
});

test('a range that cannot be understood is ignored, a malformed one never breaks', async (t) => {
  const { mirror, image, port } = await createWorld(t);
  const path = `/v2/app/blobs/${image.layer(0).digest}`;
  await get(mirror.url + path);
  for (const range of [
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=0-1,x',
    'bytes=,',
    'bytes 0-1',
    'items=0-1',
    'bytes=0x0-0x1',
    'bytes=--1',
    'bytes=1--1',
    'bytes=1.5-2',
    'bytes=0-1;2-3',
    'bytes=\u00e9',
    '=',
    ',',
    `bytes=${'-'.repeat(10_000)}`,
    `bytes=${' '.repeat(30_000)}0-1x`,
  ]) {
    const text = await rawRequest(port, `GET ${path} ${HEAD}\r\nRange: ${range}\r\n\r\n`);
    const [answer] = parseAnswers(text);
    t.is(answer?.status, 200, range.slice(0, 40));
    t.is(answer?.headers.get('content-length'), '3000', range.slice(0, 40));
  }
});

test('headers or a URL of 100 KB are 431 and the next client is served', async (t) => {
  const world = await createWorld(t);
  for (const text of [
    `GET /v2/ ${HEAD}\r\nX-Long: ${'x'.repeat(100_000)}\r\n\r\n`,
    `GET /v2/ ${HEAD}\r\n${'X-Many: 1\r\n'.repeat(10_000)}\r\n`,
    `GET /v2/${'x'.repeat(100_000)}/manifests/v1 ${HEAD}\r\n\r\n`,
    `GET /v2/app/tags/list?last=${'x'.repeat(100_000)} ${HEAD}\r\n\r\n`,
    `${'X'.repeat(100_000)} /v2/ ${HEAD}\r\n\r\n`,
  ]) {
    const received = await rawRequest(world.port, text);
    for (const answer of parseAnswers(received)) {
      assertSpecError(t, answer, { message: text.slice(0, 40) });
    }
  }
  const [answer] = parseAnswers(
    await rawRequest(world.port, `GET /v2/ ${HEAD}\r\nX-Long: ${'x'.repeat(100_000)}\r\n\r\n`),
  );
  t.is(answer?.status, 431);
  await assertServes(t, world);
});

test('a header of 40 KB is taken: podman asks for 1024 ranges at once', async (t) => {
  const { port } = await createWorld(t);
  const text = `GET /v2/ ${HEAD}\r\nX-Long: ${'x'.repeat(40_000)}\r\n\r\n`;
  t.is(parseAnswers(await rawRequest(port, text))[0]?.status, 200);
});

const NOT_HTTP: Record<string, string> = {
  'a TLS hello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'an HTTP/2 preface': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'an unknown version': `GET /v2/ HTTP/9.9\r\nHost: a\r\n\r\n`,
  'an unknown method': `FROB /v2/ ${HEAD}\r\n\r\n`,
  'a lower-case method': `get /v2/ ${HEAD}\r\n\r\n`,
  'a tunnel': 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n',
  'a space in the path': `GET /v2/a b/manifests/v1 ${HEAD}\r\n\r\n`,
  'no path': `GET ${HEAD}\r\n\r\n`,
  'no colon in a header': `GET /v2/ ${HEAD}\r\nBroken\r\n\r\n`,
  'a space in a header name': `GET /v2/ ${HEAD}\r\nBro ken: 1\r\n\r\n`,
  'a NUL in a header': `GET /v2/ ${HEAD}\r\nA: b\0c\r\n\r\n`,
  'a folded header': `GET /v2/ ${HEAD}\r\nA: b\r\n c\r\n\r\n`,
  'a bare CR': `GET /v2/ ${HEAD}\rA: b\r\n\r\n`,
  'two lengths': `GET /v2/ ${HEAD}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
  'a negative length': `GET /v2/ ${HEAD}\r\nContent-Length: -1\r\n\r\n`,
  'a length and chunks': `GET /v2/ ${HEAD}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'an unknown coding': `GET /v2/ ${HEAD}\r\nTransfer-Encoding: frob\r\n\r\n`,
  'a broken chunk': `POST /v2/ ${HEAD}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
};

test('what is no HTTP gets a spec error or a closed socket', async (t) => {
  const world = await createWorld(t);
  for (const [message, text] of Object.entries(NOT_HTTP)) {
    const answers = parseAnswers(await rawRequest(world.port, text));
    for (const answer of answers) assertSpecError(t, answer, { message });
    t.true(answers.length <= 1, message);
  }
  t.is(await closeAfter(world.port, '\r\n\r\n\r\n'), '');
  await assertServes(t, world);
});

/** Writes, ends its half of the connection, and gives what came until the other half ended. */
async function closeAfter(port: number, text: string | Buffer): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  socket.end(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  return receive(socket);
}

async function receive(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.on('error', () => undefined);
  await once(socket, 'close');
  return Buffer.concat(parts).toString('latin1');
}

test('a missing Host is a spec error in HTTP/1.1 and no matter in HTTP/1.0', async (t) => {
  const { port } = await createWorld(t);
  const text = 'GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n';
  const [answer] = parseAnswers(await rawRequest(port, text));
  t.is(answer?.status, 400);
  if (answer) assertSpecError(t, answer, { message: 'no Host' });
  const [old] = parseAnswers(await rawRequest(port, 'GET /v2/ HTTP/1.0\r\n\r\n'));
  t.is(old?.status, 200);
});

const HOSTS: readonly [
  lines: readonly string[],
  version: '1.0' | '1.1',
  status: number,
  target?: string,
][] = [
  [['a', 'b'], '1.1', 400],
  [['a', 'a'], '1.1', 400],
  [['a', ''], '1.1', 400],
  [['', 'a'], '1.0', 400],
  [['a', 'b'], '1.0', 400],
  [[], '1.1', 400],
  [[], '1.0', 200],
  [[''], '1.1', 400],
  [[''], '1.0', 200],
  [['   '], '1.1', 400],
  [['a b/@c'], '1.1', 400],
  [['a b'], '1.0', 400],
  [['user@a'], '1.1', 400],
  [['user:word@a'], '1.0', 400],
  [['http://a'], '1.1', 400],
  [['a, b'], '1.1', 400],
  [['a/v2'], '1.0', 400],
  [['a?b'], '1.1', 400],
  [['a#b'], '1.1', 400],
  [['a\\b'], '1.1', 400],
  [['a%zz'], '1.1', 400],
  [['m\u00fcller'], '1.1', 400],
  [['a:port'], '1.1', 400],
  [['a:1:2'], '1.1', 400],
  [[':5000'], '1.1', 400],
  [['[::1'], '1.1', 400],
  [['::1'], '1.1', 400],
  [['mirror.example:5000'], '1.1', 200],
  [['mirror.example:'], '1.1', 200],
  [['a_b.example.'], '1.1', 200],
  [['127.0.0.1'], '1.0', 200],
  [['[::1]:5000'], '1.1', 200],
  // A whole URL as target
  [['a'], '1.1', 200, 'http://b'],
  [[''], '1.0', 200, 'http://b:5000'],
  [[], '1.1', 400, 'http://b'],
  [['a', 'b'], '1.1', 400, 'http://b'],
  [['a b'], '1.1', 400, 'http://b'],
  [['b'], '1.1', 400, 'http://user@b'],
  [['b'], '1.1', 400, 'http://user:word@b'],
  [['b'], '1.1', 400, 'http://'],
  [['b'], '1.1', 400, 'http://b:port'],
  [['b'], '1.1', 400, 'ftp://b'],
];

test('more than one Host, or one that is none, is 400 on both doors, also over TLS', async (t) => {
  const { mirror, registry } = await createWorld(t);
  const { ca, server } = await createCertificates();
  const folder = await createTempFolder(t);
  const tls = { cert: join(folder, 'tls.crt'), key: join(folder, 'tls.key') };
  await writeFile(tls.cert, server.cert);
  await writeFile(tls.key, server.key);
  const upstreams = { 'registry.example': { url: registry.url } };
  const secured = await startMirror(t, { upstreams, listen: { tls } });
  const log = pino({ level: 'silent' });
  const at = { host: '127.0.0.1', port: 0, tls };
  const admin = await Listener.open(at, createFakeAdmin({}).callback(), log);
  t.teardown(async () => admin.close(0));
  for (const [path, url] of [
    ['/v2/', mirror.url],
    ['/v2/', secured.url],
    ['/healthz', mirror.server.adminUrl],
    ['/healthz', admin.url],
  ] as const) {
    const { port, protocol } = new URL(url);
    for (const [hosts, version, status, target = ''] of HOSTS) {
      const lines = hosts.map((host) => `Host: ${host}\r\n`).join('');
      const text = `GET ${target}${path} HTTP/${version}\r\n${lines}Connection: close\r\n\r\n`;
      const bytes = Buffer.from(text, 'latin1');
      const answer = await rawRequest(Number(port), bytes, protocol === 'https:' ? { ca } : {});
      const message = `${url} ${target}${path} ${version} ${JSON.stringify(hosts)}`;
      t.is(parseAnswers(answer)[0]?.status, status, message);
    }
  }
});

test('an expectation that cannot be met is a spec error', async (t) => {
  const { port } = await createWorld(t);
  const text = `GET /v2/ ${HEAD}\r\nExpect: 200-ok\r\n\r\n`;
  const [answer] = parseAnswers(await rawRequest(port, text));
  if (answer && answer.status !== 200) assertSpecError(t, answer, { message: 'Expect' });
  t.truthy(answer);
});

test('an HTTP/1.0 client gets its blob whole and its connection closed', async (t) => {
  const { port, image } = await createWorld(t);
  const path = `/v2/app/blobs/${image.layer(0).digest}`;
  for (const state of ['miss', 'hit']) {
    const [answer] = parseAnswers(await rawRequest(port, `GET ${path} HTTP/1.0\r\n\r\n`));
    t.is(answer?.status, 200, state);
    t.deepEqual(Buffer.from(answer?.body ?? '', 'latin1'), image.layer(0).bytes, state);
  }
});

test('a request target that is no path is a spec error', async (t) => {
  const world = await createWorld(t);
  for (const target of [
    'http://[',
    'http://a:bb/v2/',
    'http://a:99999/v2/',
    'http://%zz/v2/',
    'http://a%20b/v2/',
    '/v2/\u00e9/manifests/v1',
    'http://[::1/v2/',
    'javascript:alert(1)',
    'mailto:a@b',
    '//[/v2/',
    '/v2/#[',
    '/#//[',
    '/\\[',
    'http:///v2/app/manifests/..%2f',
    'xyz',
    '*',
  ]) {
    const text = `GET ${target} ${HEAD}\r\n\r\n`;
    for (const answer of parseAnswers(await rawRequest(world.port, text))) {
      if (answer.status !== 200) assertSpecError(t, answer, { message: target });
    }
  }
  await assertServes(t, world);
});

test('the absolute form of a request names the same thing as its path', async (t) => {
  const { port, image } = await createWorld(t);
  const answer = await ask(port, 'http://elsewhere.example/v2/app/manifests/v1');
  t.is(answer.status, 200);
  t.is(answer.headers.get('docker-content-digest'), image.manifest.digest);
});

test('a body on a GET is not taken for the next request', async (t) => {
  const { port } = await createWorld(t);
  const smuggled = 'GET /v2/smuggled/manifests/v1 HTTP/1.1\r\nHost: mirror\r\n\r\n';
  const chunked = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`;
  for (const path of ['/v2/', '/v2/app/manifests/v1', '/v2/BAD/manifests/v1', '/nothing']) {
    for (const body of [
      `Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
      `Transfer-Encoding: chunked\r\n\r\n${chunked}`,
    ]) {
      const text = `GET ${path} HTTP/1.1\r\nHost: mirror\r\n${body}GET /v2/ ${HEAD}\r\n\r\n`;
      const answers = parseAnswers(await rawRequest(port, text));
      t.true(answers.length <= 2, path);
      for (const { body: received } of answers) t.false(received.includes('smuggled'), path);
      if (answers.length === 2) t.is(answers[1]?.body, '{}', path);
    }
  }
});

test('pipelined requests are answered in their order, whatever each of them is', async (t) => {
  const { port, image, registry } = await createWorld(t);
  const gate = registry.hold(image.layer(0), { after: 1000 });
  const paths = [
    `/v2/app/blobs/${image.layer(0).digest}`,
    '/v2/app/manifests/v1',
    '/v2/app/manifests/missing',
    '/v2/',
    `/v2/app/blobs/${image.config.digest}`,
  ];
  const text = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: mirror\r\n\r\n`).join('');
  const answering = rawRequest(port, `${text}GET /v2/BAD/tags/list ${HEAD}\r\n\r\n`);
  await gate.arrived();
  gate.open();
  const answers = parseAnswers(await answering);
  t.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 404, 200, 200, 400],
  );
  t.deepEqual(Buffer.from(answers[0]?.body ?? '', 'latin1'), image.layer(0).bytes);
  t.is(answers[1]?.body, image.manifest.bytes.toString('latin1'));
  t.is(answers[3]?.body, '{}');
  t.is(answers[4]?.body, image.config.bytes.toString('latin1'));
});

test('a client that closes its half at once is answered truly or not at all', async (t) => {
  const { port, image } = await createWorld(t);
  const path = `/v2/app/blobs/${image.layer(0).digest}`;
  for (const state of ['miss', 'hit']) {
    const text = await closeAfter(port, `GET ${path} ${HEAD}\r\n\r\n`);
    const [answer] = text === '' ? [] : parseAnswers(text);
    const body = Buffer.from(answer?.body ?? '', 'latin1');
    t.deepEqual(body, image.layer(0).bytes.subarray(0, body.length), state);
  }
});

test('half a request and an end, a reset or nothing at all leave nothing behind', async (t) => {
  const world = await createWorld(t);
  const halves = ['', 'GET', 'GET /v2/ HTTP/1.1\r\n', 'GET /v2/ HTTP/1.1\r\nHost: mir', '\r\n'];
  for (const half of halves) {
    const received = await closeAfter(world.port, half);
    for (const answer of parseAnswers(received)) assertSpecError(t, answer, { message: half });
    const socket = connect({ host: '127.0.0.1', port: world.port });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(half);
    socket.resetAndDestroy();
    await once(socket, 'close');
  }
  await assertServes(t, world);
});

test('clients that connect and say nothing do not keep the server from closing', async (t) => {
  const world = await createWorld(t);
  const sockets: Socket[] = [];
  for (const text of ['', 'GET /v2/ HTTP/1.1\r\nHost:', 'POST /v2/ HTTP/1.1\r\n']) {
    const socket = connect({ host: '127.0.0.1', port: world.port });
    await once(socket, 'connect');
    socket.write(text);
    sockets.push(socket);
  }
  await assertServes(t, world);
  const closed = Promise.all(sockets.map((socket) => receive(socket)));
  await world.mirror.stop();
  await closed;
  t.pass();
});

test('a slow or silent client is cut off by the deadlines of the listener', async (t) => {
  const world = await createWorld(t, { headersMs: 500 });
  const begin = (text: string): { ended: Promise<string>; stop: () => void } => {
    const socket = connect({ host: '127.0.0.1', port: world.port });
    socket.write(text);
    // Byte by byte, as slowloris does: never idle, never done.
    const drip = setInterval(() => text !== '' && socket.write('x'), 100);
    const ended = receive(socket).finally(() => clearInterval(drip));
    return { ended, stop: () => socket.destroy() };
  };
  const clients = ['', 'GET /v2/ HTTP/1.1\r\nHost: mirror\r\nX-Slow: ', 'GET /v2/'].map(begin);
  t.teardown(() => clients.forEach(({ stop }) => stop()));
  for (const text of await Promise.all(clients.map(({ ended }) => ended))) {
    for (const answer of parseAnswers(text)) {
      assertSpecError(t, answer, { message: 'slow' });
      t.is(answer.status, 408);
    }
  }
  await assertServes(t, world);
});

const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}$/);
const method = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('GET', 'HEAD') },
  { weight: 2, arbitrary: fc.constantFrom('POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE') },
  token,
);
const visible = fc.stringMatching(/^[\x21-\x7e]{0,40}$/);
const piece = fc.oneof(
  fc.constantFrom('v2', 'app', 'manifests', 'blobs', 'tags', 'list', 'referrers', 'v1', ''),
  fc.constantFrom('..', '.', '%2e%2e', '%2f', '%', '%zz', '%00', '%ff', '_catalog', 'uploads'),
  fc.constantFrom(`sha256:${HEX}`, `sha256%3A${HEX}`, 'registry.example', 'docker.io', 'sha256:'),
  visible,
);
const path = fc.oneof(
  fc.tuple(fc.array(piece, { maxLength: 6 })).map(([pieces]) => `/v2/${pieces.join('/')}`),
  fc.array(piece, { maxLength: 6 }).map((pieces) => `/${pieces.join('/')}`),
  visible.map((text) => text || '/'),
);
const query = fc.oneof(
  fc.constant(''),
  fc
    .array(fc.tuple(fc.constantFrom('ns', 'n', 'last', 'artifactType', 'x'), visible), {
      maxLength: 3,
    })
    .map((pairs) => `?${pairs.map((pair) => pair.join('=')).join('&')}`),
);
const field = fc.tuple(
  fc.oneof(
    fc.constantFrom('Range', 'If-Range', 'If-None-Match', 'Accept', 'Accept-Encoding', 'Host'),
    fc.constantFrom('Content-Length', 'Transfer-Encoding', 'Expect', 'Upgrade', 'Authorization'),
    token,
  ),
  fc.oneof(
    fc.constantFrom('bytes=0-', 'bytes=-1', 'bytes=9-1,0-', '*', '*/*;q=0', 'chunked', '5', '""'),
    visible,
    fc.stringMatching(/^[\x20-\x7e\x80-\xff]{0,40}$/),
  ),
);

test('no request whatever is answered with 500, and every error is the document of the spec', async (t) => {
  const world = await createWorld(t);
  await fc.assert(
    fc.asyncProperty(method, path, query, fc.array(field, { maxLength: 4 }), async (...parts) => {
      const [verb, target, search, fields] = parts;
      const headers = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
      const text = `${verb} ${target}${search} ${HEAD}\r\n${headers}\r\n`;
      const received = await rawRequest(world.port, text);
      if (received.startsWith('HTTP/1.1 500')) throw new Error(received);
      // What no parser has understood is answered without knowing that it was a HEAD.
      if (verb === 'HEAD') return;
      for (const answer of parseAnswers(received)) {
        if (answer.status < 400) continue;
        const type = answer.headers.get('content-type');
        if (type !== 'application/json') throw new Error(`${answer.status} with ${type}`);
        if (codeOf(answer.body) === undefined) throw new Error(received);
      }
    }),
    { numRuns: 600 },
  );
  await assertServes(t, world);
});

test('garbage on the socket is answered with an error or not at all', async (t) => {
  const world = await createWorld(t);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.boolean(), async (bytes, afterLine) => {
      const start = Buffer.from(afterLine ? 'GET /v2/ HTTP/1.1\r\n' : '');
      const received = await closeAfter(world.port, Buffer.concat([start, bytes]));
      for (const answer of parseAnswers(received)) {
        if (answer.status === 500) throw new Error(received);
        if (answer.status >= 400 && codeOf(answer.body) === undefined) throw new Error(received);
      }
    }),
    { numRuns: 300 },
  );
  await assertServes(t, world);
});
