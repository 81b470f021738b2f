import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Agent } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { startServer, type RunningServer } from '../../src/server.ts';
import { injure } from '../faults/injury.ts';
import { get, open, TruncatedError } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { Gate } from '../helpers/gate.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import {
  createConfig,
  createTempFolder,
  listPartials,
  TEST_TIMING,
  type MirrorOptions,
} from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { rule, syncConfig } from '../sync/rules.ts';

const NAME = UPSTREAM;
const MIB = 1024 * 1024;

interface World {
  readonly registry: FakeRegistry;
  readonly image: Image;
  readonly storePath: string;
  readonly server: RunningServer;
  /** The path of a blob of the image, at the mirror. */
  readonly blob: (layer: number) => string;
  /** The first half of the grace passes when this opens. */
  readonly half: Gate;
  /** The second half, after it. */
  readonly end: Gate;
  /** Begins the close, and tells when it has ended. */
  readonly close: () => { readonly closed: Promise<void>; readonly isClosed: () => boolean };
}

/** A server whose grace passes as the test has it pass. */
async function createWorld(
  t: ExecutionContext,
  { upstream, ...options }: Partial<MirrorOptions> & { upstream?: object } = {},
): Promise<World> {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 1, layers: [3000, 4000, 8 * MIB] });
  registry.addImage('app', 'v1', image, { name: 'app' });
  const storePath = await createTempFolder(t);
  const [half, end] = [new Gate(), new Gate()];
  const gates = [half, end];
  const config = createConfig(storePath, {
    ...options,
    upstreams: { [NAME]: { url: registry.url, ...upstream } },
    graceMs: 8_000,
  });
  const server = await startServer(config, {
    log: pino({ level: 'silent' }),
    timing: { ...TEST_TIMING, ...options.timing },
    pause: async (_, signal) => gates.shift()?.pass(once(signal, 'abort')),
  });
  let closing: Promise<void> | undefined;
  let isClosed = false;
  const close: World['close'] = () => {
    closing ??= server.close().then(() => void (isClosed = true));
    return { closed: closing, isClosed: () => isClosed };
  };
  t.teardown(async () => {
    half.open();
    end.open();
    await close().closed;
  });
  const blob = (layer: number): string => `${server.url}/v2/app/blobs/${image.layer(layer).digest}`;
  return { registry, image, storePath, server, blob, half, end, close };
}

async function isRefused(url: string): Promise<boolean> {
  return get(url).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET',
  );
}

async function dial(url: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  await once(socket, 'connect');
  // Cut, it may have something unread.
  socket.on('error', () => undefined);
  return socket;
}

test('for half the grace all goes on but readiness; then nothing new is taken, and answers end with their connection', async (t) => {
  const { registry, image, server, blob, half, end, close } = await createWorld(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const first = await get(blob(0), { agent });
  t.is((await get(`${server.adminUrl}/readyz`)).status, 200);
  const { closed, isClosed } = close();
  await half.arrived();
  const ready = await get(`${server.adminUrl}/readyz`);
  t.is(ready.status, 503);
  t.deepEqual(JSON.parse(ready.body.toString()), { status: 'not ready', reason: 'shutting down' });
  t.is((await get(`${server.adminUrl}/healthz`)).status, 200);
  // The next blob of a pull with one connection, and a client that has just come.
  const second = await get(blob(1), { agent });
  t.true(second.body.equals(image.layer(1).bytes));
  t.deepEqual(
    [first, second].map(({ headers }) => headers.connection),
    ['keep-alive', 'keep-alive'],
  );
  t.is((await get(`${server.url}/v2/`)).status, 200);

  const gate = registry.hold(image.layer(2), { after: 1000 });
  const running = await open(blob(2), { agent });
  const headersGate = registry.hold('v1', { before: 'headers' });
  const late = open(`${server.url}/v2/app/manifests/v1`, { headers: { Connection: 'keep-alive' } });
  await headersGate.arrived();
  half.open();
  await end.arrived();
  t.true(await isRefused(`${server.url}/v2/`));
  t.is((await get(`${server.adminUrl}/readyz`)).status, 503);
  headersGate.open();
  t.is((await late).headers.connection, 'close');
  t.false(isClosed());
  gate.open();
  t.true((await running.rest()).equals(image.layer(2).bytes));
  await closed;
  t.true(await isRefused(`${server.adminUrl}/healthz`));
});

test('a connection between two requests of a pull is kept for half the grace, and closed then', async (t) => {
  const { server, half, end, close } = await createWorld(t);
  const idle = await dial(server.url);
  idle.write('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(idle, 'data');
  const silent = await dial(server.url);
  const gone = [idle, silent].map(async (socket) => {
    socket.resume();
    await once(socket, 'close');
  });
  const { closed } = close();
  await half.arrived();
  idle.write('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n');
  const [answer] = (await once(idle, 'data')) as [Buffer];
  t.regex(answer.toString(), /^HTTP\/1\.1 200 OK\r\n/);
  half.open();
  await Promise.all(gone);
  await closed;
  t.is(end.waiting, 0);
});

test('what still runs at the end of the grace is cut: a stopped reader, an upstream that is silent', async (t) => {
  const { registry, image, storePath, server, blob, half, end, close } = await createWorld(t);
  const gate = registry.hold(image.layer(2), { after: MIB });
  const silent = await open(blob(2));
  await silent.read(MIB);
  t.is((await get(blob(0))).status, 200);
  const stopped = await dial(server.url);
  stopped.pause();
  for (let count = 0; count < 20; count += 1) {
    stopped.write(`GET ${new URL(blob(0)).pathname} HTTP/1.1\r\nHost: a\r\n\r\n`);
  }
  const { closed, isClosed } = close();
  half.open();
  await end.arrived();
  t.false(isClosed());
  end.open();
  await closed;
  await t.throwsAsync(silent.rest(), { instanceOf: TruncatedError });
  t.is((await listPartials(storePath)).length, 1);
  t.is(gate.waiting, 0);
});

for (const [what, bytesPerSecond] of [
  ['a client', undefined],
  ['a client under a cap', 1000],
] as const) {
  test(`the transfer of ${what} ends with the grace`, async (t) => {
    const { registry, image, blob, half, end, close } = await createWorld(t, {
      upstream: bytesPerSecond === undefined ? {} : { bytesPerSecond },
    });
    const gate = registry.hold(image.layer(2), { after: 2000 });
    const running = await open(blob(2));
    await gate.arrived();
    const { closed } = close();
    half.open();
    await end.arrived();
    t.is(gate.waiting, 1);
    end.open();
    await closed;
    await t.throwsAsync(running.rest(), { instanceOf: TruncatedError });
  });
}

// What no client waits for ends before anything is waited for.

test('hydration is aborted at once', async (t) => {
  const { registry, image, server, blob, half, close } = await createWorld(t, {
    upstream: { hydrate: 'blob' },
  });
  const gate = registry.hold(image.layer(2), { after: 1000 });
  await get(`${server.url}/v2/app/manifests/v1`);
  await get(blob(0));
  await gate.arrived();
  close();
  await half.arrived();
  await until('the transfer has ended', () => gate.waiting === 0);
  t.is((await get(`${server.url}/v2/`)).status, 200);
});

test('a run of sync is aborted at once', async (t) => {
  const { registry, image, half, close } = await createWorld(t, {
    sync: syncConfig([rule('app', { tags: { names: ['v1'] } })]),
  });
  const gate = registry.hold(image.layer(2), { after: 1000 });
  await gate.arrived();
  close();
  await half.arrived();
  await until('the transfer has ended', () => gate.waiting === 0);
  t.pass();
});

test('a fetch that heals is aborted at once', async (t) => {
  const { registry, image, storePath, server, blob, half, close } = await createWorld(t);
  await get(blob(2));
  await until('it is kept', () => server.activity().downloads === 0);
  await injure(storePath, image.layer(2), 'cut short');
  const gate = registry.hold(image.layer(2), { after: 1000 });
  const headers = { 'Content-Type': 'application/json' };
  await get(`${server.adminUrl}/api/v1/verify`, { method: 'POST', headers });
  await gate.arrived();
  close();
  await half.arrived();
  await until('the transfer has ended', () => gate.waiting === 0);
  t.pass();
});
