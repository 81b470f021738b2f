import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { startServer, type RunningServer } from '../../src/server.ts';
import { startMain } from '../cli/run-main.ts';
import { createCertificates, type Certificates } from '../helpers/certificate.ts';
import { get, open, TruncatedError } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import {
  createConfig,
  createTempFolder,
  listPartials,
  startMirror,
  TEST_TIMING,
  type MirrorOptions,
} from '../helpers/mirror.ts';
import { missingPackages, testUnless } from '../helpers/needs.ts';
import { until } from '../helpers/until.ts';
import { serve } from '../helpers/serve.ts';

const NAME = 'registry.example';

interface World {
  readonly registry: FakeRegistry;
  readonly image: Image;
  readonly storePath: string;
  readonly options: MirrorOptions;
}

async function createWorld(t: ExecutionContext): Promise<World> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 1, layers: [3000] });
  registry.addImage('app', 'v1', image, { name: 'app' });
  const storePath = await createTempFolder(t);
  return { registry, image, storePath, options: { upstreams: { [NAME]: { url: registry.url } } } };
}

/** A server that the test itself closes; without the checks at the end, which need an open one. */
async function launch(t: ExecutionContext, world: World, graceMs = 100): Promise<RunningServer> {
  const server = await startServer(createConfig(world.storePath, { ...world.options, graceMs }), {
    log: pino({ level: 'silent' }),
    timing: TEST_TIMING,
  });
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => (closing ??= server.close());
  t.teardown(close);
  return { ...server, close };
}

const pairs = [await createCertificates(), await createCertificates()] as const;

interface TlsWorld {
  readonly url: string;
  readonly tls: { cert: string; key: string };
  readonly pairs: readonly [Certificates, Certificates];
  readonly log: readonly Record<string, unknown>[];
  readonly fingerprint: () => Promise<string>;
}

async function createTlsWorld(t: ExecutionContext): Promise<TlsWorld> {
  const world = await createWorld(t);
  const folder = await createTempFolder(t);
  const tls = { cert: join(folder, 'tls.crt'), key: join(folder, 'tls.key') };
  await writePair(tls, pairs[0]);
  const { url, log } = await startMirror(t, { ...world.options, listen: { tls } });
  const fingerprint = async (): Promise<string> => {
    const socket = connectTls({ port: Number(new URL(url).port), rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256;
  };
  return { url, tls, pairs, log, fingerprint };
}

/** By renaming, so that no half-written file is ever seen. */
async function writePair(tls: TlsWorld['tls'], { server }: Certificates): Promise<void> {
  for (const kind of ['cert', 'key'] as const) {
    await writeFile(`${tls[kind]}.new`, server[kind]);
    await rename(`${tls[kind]}.new`, tls[kind]);
  }
}

/** What the client would rather have is the first of them. */
const CIPHERS = {
  'TLSv1.2':
    'ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256',
  'TLSv1.3': 'TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256',
};

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a TLS session is taken up again, and AES-GCM with the shorter key goes first: ${maxVersion}`, async (t) => {
    const { url, pairs } = await createTlsWorld(t);
    const pull = async (session?: Buffer) => {
      const port = Number(new URL(url).port);
      const place = { host: '127.0.0.1', port, ca: pairs[0].ca };
      const ciphers = CIPHERS[maxVersion];
      const socket = connectTls({ ...place, maxVersion, ciphers, session });
      let given: Buffer | undefined;
      socket.on('session', (ticket: Buffer) => (given = ticket));
      await once(socket, 'secureConnect');
      const isReused = socket.isSessionReused();
      const { name } = socket.getCipher();
      socket.write('GET /v2/ HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n');
      const answer = await text(socket);
      return { answer, isReused, cipher: name, session: given };
    };
    const first = await pull();
    t.regex(first.cipher, /AES_?128[-_]GCM/);
    t.false(first.isReused);
    const second = await pull(first.session);
    t.true(second.isReused);
    t.regex(second.answer, /^HTTP\/1\.1 200 /);
  });
}

test('a client that trusts the authority is served over TLS', async (t) => {
  const { url, pairs } = await createTlsWorld(t);
  t.regex(url, /^https:/);
  const answer = await get(`${url}/v2/app/manifests/v1`, { tls: { ca: pairs[0].ca } });
  t.is(answer.status, 200);
  await t.throwsAsync(get(`${url}/v2/`, { tls: { ca: pairs[1].ca } }));
});

test('new connections get a new certificate as its files change', async (t) => {
  const { url, tls, pairs, fingerprint } = await createTlsWorld(t);
  const before = await fingerprint();
  await writePair(tls, pairs[1]);
  await until('the new certificate', async () => (await fingerprint()) !== before);
  t.is((await get(`${url}/v2/`, { tls: { ca: pairs[1].ca } })).status, 200);
  await t.throwsAsync(get(`${url}/v2/`, { tls: { ca: pairs[0].ca } }));
});

test('a broken pair keeps the old certificate until it is mended', async (t) => {
  const { url, tls, pairs, log, fingerprint } = await createTlsWorld(t);
  const before = await fingerprint();
  const refusals = (): number =>
    log.filter(({ msg }) => String(msg).startsWith('certificate not reloaded')).length;
  const breaks: [string, () => Promise<void>][] = [
    ['garbage', async () => writeFile(tls.cert, 'garbage')],
    ['the certificate of another key', async () => writeFile(tls.cert, pairs[1].server.cert)],
    ['no file', async () => rename(tls.cert, `${tls.cert}.gone`)],
  ];
  for (const [what, doBreak] of breaks) {
    const count = refusals();
    await doBreak();
    await until(`the refusal of ${what}`, () => refusals() > count);
    t.is(await fingerprint(), before, what);
    t.is((await get(`${url}/v2/`, { tls: { ca: pairs[0].ca } })).status, 200, what);
  }
  await writePair(tls, pairs[1]);
  await until('the new certificate', async () => (await fingerprint()) !== before);
  t.is((await get(`${url}/v2/`, { tls: { ca: pairs[1].ca } })).status, 200);
});

test('an answer that does not finish in time is cut, and the next process resumes by Range', async (t) => {
  const world = await createWorld(t);
  const { registry, image, storePath } = world;
  const server = await launch(t, world, 20);
  const layer = image.layer(0);
  const gate = registry.hold(layer, { after: 1000 });
  const running = await open(`${server.url}/v2/app/blobs/${layer.digest}`);
  t.true((await running.read(1000)).equals(layer.bytes.subarray(0, 1000)));
  await server.close();
  await t.throwsAsync(running.rest(), { instanceOf: TruncatedError });
  gate.open();
  const [partial = ''] = await listPartials(storePath);
  t.true(
    (await readFile(join(storePath, 'ingest', partial))).equals(layer.bytes.subarray(0, 1000)),
  );

  registry.clear();
  const next = await startMirror(t, { ...world.options, storePath });
  const answer = await get(`${next.url}/v2/app/blobs/${layer.digest}`);
  t.true(answer.body.equals(layer.bytes));
  t.deepEqual(registry.conversation(), ['GET /v2/app/blobs/<app.layer0> bytes=1000-']);
});

test('a partial that does not fit the blob is thrown away and fetched from the start', async (t) => {
  const world = await createWorld(t);
  const layer = world.image.layer(0);
  for (const [kept, left] of [
    [Buffer.alloc(1000, 'x'), 'of other bytes'],
    [Buffer.concat([layer.bytes, Buffer.from('more')]), 'longer than the blob'],
  ] as const) {
    const storePath = await createTempFolder(t);
    const first = await startServer(createConfig(storePath, world.options), {
      log: pino({ level: 'silent' }),
    });
    await first.close();
    const name = `${layer.digest.replace(':', '-')}@${NAME}`;
    await writeFile(join(storePath, 'ingest', name), kept);
    const mirror = await startMirror(t, { ...world.options, storePath });
    const url = `${mirror.url}/v2/app/blobs/${layer.digest}`;
    const answer = await get(url).catch(async (error: unknown) => {
      t.true(error instanceof TruncatedError, left);
      return get(url);
    });
    t.true(answer.body.equals(layer.bytes), left);
  }
});

test('idle and silent connections do not hold a closing server up', async (t) => {
  const world = await createWorld(t);
  const server = await launch(t, world);
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  await get(`${server.url}/v2/`, { agent });
  await get(`${server.adminUrl}/healthz`, { agent });
  await server.close();
  t.deepEqual(server.activity(), { downloads: 0, questions: 0, openFiles: 0 });
});

test('a fill whose client has left is kept as it is when the server closes', async (t) => {
  const world = await createWorld(t);
  const server = await launch(t, world);
  const layer = world.image.layer(0);
  const gate = world.registry.hold(layer, { after: 1000 });
  const running = await open(`${server.url}/v2/app/blobs/${layer.digest}`);
  await running.read(1000);
  running.destroy();
  await gate.arrived();
  await server.close();
  gate.open();
  const [partial = ''] = await listPartials(world.storePath);
  t.is((await stat(join(world.storePath, 'ingest', partial))).size, 1000);
});

test('a second server on the same store says so and leaves the first one alone', async (t) => {
  const world = await createWorld(t);
  const first = await launch(t, world);
  const error = await t.throwsAsync(startServer(createConfig(world.storePath, world.options)));
  t.regex(error?.message ?? '', /in use by another process/);
  t.true(error?.message.includes(world.storePath));
  t.is((await get(`${first.url}/v2/app/manifests/v1`)).status, 200);
  await first.close();
  const second = await launch(t, world);
  t.is((await get(`${second.url}/v2/app/manifests/v1`)).status, 200);
});

/** The real program on its own configuration file. */
async function startProgram(t: ExecutionContext, world: World) {
  const cwd = await createTempFolder(t);
  const config = {
    listen: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    grace: '100ms',
    store: { path: world.storePath, minFreeBytes: 0 },
    defaultUpstream: NAME,
    upstreams: { [NAME]: { url: world.registry.url } },
  };
  await writeFile(join(cwd, 'entrepot.yaml'), JSON.stringify(config));
  const child = startMain(['serve'], { cwd });
  t.teardown(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
  const errors = text(child.stderr!);
  const url = new Promise<string | undefined>((resolve) => {
    const lines = createInterface({ input: child.stdout! });
    lines.on('line', (line) => {
      const { msg, url: listening } = JSON.parse(line) as { msg: string; url?: string };
      if (msg === 'listening') resolve(listening);
    });
    lines.on('close', () => resolve(undefined));
  });
  return { child, ended, errors, url: await url };
}

test('a second process on the same store ends with one clear line', async (t) => {
  const world = await createWorld(t);
  await launch(t, world);
  const { ended, errors, url } = await startProgram(t, world);
  t.is(url, undefined);
  t.deepEqual(await ended, [1, null]);
  const lines = (await errors).trimEnd().split('\n');
  t.is(lines.length, 1);
  t.regex(lines[0] ?? '', /in use by another process/);
  t.true(lines[0]?.includes(world.storePath));
});

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`what a process had before ${signal} is where the next one goes on`, async (t) => {
    const world = await createWorld(t);
    const { registry, image, storePath } = world;
    const layer = image.layer(0);
    const program = await startProgram(t, world);
    await get(`${program.url}/v2/app/manifests/v1`);
    await get(`${program.url}/v2/app/blobs/${image.config.digest}`);
    await until('the blob at its place', async () => (await listPartials(storePath)).length === 0);
    const gate = registry.hold(layer, { after: 1000 });
    const running = await open(`${program.url}/v2/app/blobs/${layer.digest}`);
    await running.read(1000);
    running.destroy();
    program.child.kill(signal);
    const [code] = await program.ended;
    t.is(code, signal === 'SIGTERM' ? 0 : null);
    gate.open();

    registry.clear();
    const next = await startMirror(t, { ...world.options, storePath });
    t.true((await get(`${next.url}/v2/app/blobs/${layer.digest}`)).body.equals(layer.bytes));
    t.is((await get(`${next.url}/v2/app/manifests/${image.manifest.digest}`)).status, 200);
    t.is((await get(`${next.url}/v2/app/blobs/${image.config.digest}`)).status, 200);
    t.deepEqual(registry.conversation(), ['GET /v2/app/blobs/<app.layer0> bytes=1000-']);
  });
}

test.serial('a port in use is a clear error and leaves nothing open', async (t) => {
  const world = await createWorld(t);
  const port = Number((await serve(t, createServer())).port);
  const open = (): string[] =>
    process.getActiveResourcesInfo().filter((name) => /TCPServer|FSEvent|StatWatcher/.test(name));
  const before = open();
  const config = createConfig(world.storePath, world.options);
  for (const which of ['listen', 'admin'] as const) {
    const taken = { ...config, [which]: { host: '127.0.0.1', port } };
    const error = await t.throwsAsync(startServer(taken, { log: pino({ level: 'silent' }) }));
    t.is((error as NodeJS.ErrnoException).code, 'EADDRINUSE', which);
    t.true(error?.message.includes(`127.0.0.1:${port}`), which);
    t.deepEqual(open(), before, which);
  }
  const server = await launch(t, world);
  t.is((await get(`${server.url}/v2/app/manifests/v1`)).status, 200);
});

type Series = ReadonlyMap<string, number>;

/** The samples of an exposition by name and labels, the labels in alphabetical order. */
async function readMetrics(adminUrl: string): Promise<Series> {
  const { body, headers, status } = await get(`${adminUrl}/metrics`);
  if (status !== 200 || !headers['content-type']?.startsWith('text/plain')) {
    throw new Error(`${status} ${headers['content-type']}`);
  }
  const samples = body
    .toString()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line): [string, number] => {
      const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (.+)$/.exec(line) ?? [];
      const sorted = labels === '' ? '' : `{${labels.split(',').toSorted().join()}}`;
      return [name.replace(/^entrepot_/, '') + sorted, Number(value)];
    });
  return new Map(samples);
}

test('health, readiness and metrics are on the admin listener only', async (t) => {
  const world = await createWorld(t);
  const { server, url } = await startMirror(t, world.options);
  for (const path of ['/healthz', '/readyz', '/metrics']) {
    t.is((await get(server.adminUrl + path)).status, 200, path);
    t.is((await get(server.adminUrl + path, { method: 'HEAD' })).status, 200, path);
    t.is((await get(url + path)).status, 404, path);
    t.is((await get(server.adminUrl + path, { method: 'POST' })).status, 405, path);
  }
  t.is((await get(`${server.adminUrl}/v2/`)).status, 404);
  t.is(world.registry.connections, 0);
});

test('metrics count a miss, a joined, a hit and a stale answer', async (t) => {
  const world = await createWorld(t);
  const { registry, image } = world;
  const { server, url } = await startMirror(t, world.options);
  const layer = image.layer(0);
  const path = `${url}/v2/app/blobs/${layer.digest}`;
  const upstream = `upstream="${NAME}"`;

  const gate = registry.hold(layer, { after: 1000 });
  const first = get(path);
  await gate.arrived();
  const second = await open(path);
  t.is((await readMetrics(server.adminUrl)).get(`downloads_in_flight{${upstream}}`), 1);
  gate.open();
  await Promise.all([first, second.rest()]);
  await until('the end of the download', () => server.activity().downloads === 0);
  await get(path);
  await get(path, { headers: { Range: 'bytes=0-99' } });
  await get(`${url}/v2/app/manifests/v1`);
  await get(`${url}/v2/app/manifests/v1`);
  await registry.refuse();
  await get(`${url}/v2/app/manifests/v1`);
  await get(`${url}/v2/app/manifests/other`);
  await get(`${url}/v2/app/blobs/uploads/`, { method: 'POST' });
  await get(`${url}/v2/`, { method: 'HEAD' });

  const series = await readMetrics(server.adminUrl);
  const { size } = image.manifest;
  const expected: Record<string, number> = {
    [`cache_requests_total{kind="blob",method="GET",result="miss",${upstream}}`]: 1,
    [`cache_requests_total{kind="blob",method="GET",result="joined",${upstream}}`]: 1,
    [`cache_requests_total{kind="blob",method="GET",result="hit",${upstream}}`]: 2,
    [`cache_requests_total{kind="manifest",method="GET",result="miss",${upstream}}`]: 1,
    [`cache_requests_total{kind="manifest",method="GET",result="revalidated",${upstream}}`]: 1,
    [`cache_requests_total{kind="manifest",method="GET",result="stale",${upstream}}`]: 1,
    'http_requests_total{code="200",kind="blob",method="GET"}': 3,
    'http_requests_total{code="206",kind="blob",method="GET"}': 1,
    'http_requests_total{code="200",kind="manifest",method="GET"}': 3,
    'http_requests_total{code="502",kind="manifest",method="GET"}': 1,
    'http_requests_total{code="405",kind="other",method="other"}': 1,
    'http_requests_total{code="200",kind="ping",method="HEAD"}': 1,
    'http_request_duration_seconds_count{kind="blob",result="hit"}': 2,
    'http_request_duration_seconds_count{kind="manifest",result="stale"}': 1,
    [`http_response_bytes_total{kind="blob",result="miss",${upstream}}`]: layer.size,
    [`http_response_bytes_total{kind="blob",result="joined",${upstream}}`]: layer.size,
    [`http_response_bytes_total{kind="blob",result="hit",${upstream}}`]: layer.size + 100,
    [`http_response_bytes_total{kind="manifest",result="stale",${upstream}}`]: size,
    [`upstream_requests_total{code="200",kind="blob",method="GET",purpose="client",${upstream}}`]: 1,
    [`upstream_requests_total{code="200",kind="manifest",method="GET",purpose="client",${upstream}}`]: 1,
    [`upstream_requests_total{code="200",kind="manifest",method="HEAD",purpose="client",${upstream}}`]: 2,
    [`upstream_request_duration_seconds_count{kind="blob",method="GET",purpose="client",${upstream}}`]: 1,
    [`upstream_bytes_total{kind="blob",purpose="client",${upstream}}`]: layer.size,
    [`upstream_bytes_total{kind="manifest",purpose="client",${upstream}}`]: size,
    [`upstream_up{${upstream}}`]: 0,
    [`downloads_in_flight{${upstream}}`]: 0,
    store_limit_bytes: 2 ** 40,
    store_blobs: 2,
    'store_bytes{state="used"}': layer.size + size,
  };
  const seen = Object.fromEntries(Object.keys(expected).map((name) => [name, series.get(name)]));
  t.deepEqual<unknown, unknown>(seen, expected);
});

test('metrics count resumed and damaged transfers and what is left of a rate limit', async (t) => {
  const world = await createWorld(t);
  const { registry, image } = world;
  const { server, url } = await startMirror(t, world.options);
  registry.rateLimit({ limit: 100, remaining: 77 });
  registry.cut(image.layer(0), { after: 1000 });
  await get(`${url}/v2/app/blobs/${image.layer(0).digest}`);
  registry.corrupt(image.config, { at: 3 });
  await t.throwsAsync(get(`${url}/v2/app/blobs/${image.config.digest}`));
  await get(`${url}/v2/app/manifests/v1`);
  const series = await readMetrics(server.adminUrl);
  const upstream = `upstream="${NAME}"`;
  t.is(series.get(`download_resumes_total{${upstream}}`), 1);
  t.is(
    series.get(`integrity_failures_total{${upstream},where="download"}`) ??
      series.get(`integrity_failures_total{where="download",${upstream}}`),
    1,
  );
  t.is(series.get(`upstream_ratelimit_limit{${upstream}}`), 100);
  t.is(series.get(`upstream_ratelimit_remaining{${upstream}}`), 76);
  t.is(series.get(`upstream_up{${upstream}}`), 1);
});

test('the store gauges of the next process count what is held from before', async (t) => {
  const world = await createWorld(t);
  const storePath = world.storePath;
  const first = await startMirror(t, { ...world.options, storePath });
  await get(`${first.url}/v2/app/manifests/v1`);
  for (const { digest } of world.image.blobs) await get(`${first.url}/v2/app/blobs/${digest}`);
  await until('the end', () => first.server.activity().downloads === 0);
  const before = await readMetrics(first.server.adminUrl);
  await first.stop();
  const second = await startMirror(t, { ...world.options, storePath });
  const after = await readMetrics(second.server.adminUrl);
  for (const name of ['store_blobs', 'store_bytes{state="used"}']) {
    t.truthy(before.get(name), name);
    t.is(after.get(name), before.get(name), name);
  }
});

const CONTRACT = [
  'cache_requests_total',
  'http_requests_total',
  'http_request_duration_seconds',
  'http_response_bytes_total',
  'upstream_requests_total',
  'upstream_request_duration_seconds',
  'upstream_bytes_total',
  'upstream_up',
  'upstream_ratelimit_limit',
  'upstream_ratelimit_remaining',
  'upstream_ratelimit_window_seconds',
  'downloads_in_flight',
  'download_resumes_total',
  'store_bytes',
  'store_limit_bytes',
  'store_blobs',
  'integrity_failures_total',
];

test('every metric of the contract is declared with a help text, and no label names content', async (t) => {
  const world = await createWorld(t);
  const { registry, image } = world;
  registry.addImage('very/classified', 'hidden-tag', image);
  const { server, url } = await startMirror(t, world.options);
  for (const path of [
    'manifests/hidden-tag',
    `manifests/${image.manifest.digest}`,
    `blobs/${image.layer(0).digest}`,
    'manifests/nowhere-tag',
    'tags/list',
    `referrers/${image.manifest.digest}`,
    'BAD/tags/list',
  ]) {
    await get(`${url}/v2/very/classified/${path}`);
  }
  await get(`${url}/v2/very/classified/tags/list?ns=nowhere.example`);
  await get(`${url}/v2/very/classified/blobs/uploads/`, { method: 'MKCOL' });
  const exposition = (await get(`${server.adminUrl}/metrics`)).body.toString();
  for (const name of CONTRACT) {
    t.regex(exposition, new RegExp(`^# HELP entrepot_${name} .+$`, 'm'), name);
  }
  for (const word of [
    'classified',
    'hidden',
    'nowhere',
    'sha256',
    'MKCOL',
    '127.0.0.1',
    'uploads',
  ]) {
    t.false(exposition.includes(word), word);
  }
});

testUnless('promtool', missingPackages('promtool'))(
  'promtool finds nothing to say about the metrics',
  async (t) => {
    const world = await createWorld(t);
    const { server, url } = await startMirror(t, world.options);
    await get(`${url}/v2/app/manifests/v1`);
    await get(`${url}/v2/app/blobs/${world.image.layer(0).digest}`);
    const { body } = await get(`${server.adminUrl}/metrics`);
    t.deepEqual(await runPromtool(body.toString()), { code: 0, output: '' });
  },
);

async function runPromtool(exposition: string): Promise<{ code: unknown; output: string }> {
  const child = spawn('promtool', ['check', 'metrics'], { stdio: 'pipe' });
  child.stdin.end(exposition);
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await once(child, 'exit');
  return { code, output: (await output).join('') };
}
