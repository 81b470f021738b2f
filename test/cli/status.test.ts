import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { ServerStatus } from '../../src/api/status-api.ts';
import { runCommand } from '../../src/cli/program.ts';
import { createFolder } from '../config/config-folder.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { HOUR } from '../helpers/clock.ts';
import { buildImage } from '../helpers/image.ts';
import { get } from '../helpers/client.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM, startScene } from '../helpers/scene.ts';
import { serve } from '../helpers/serve.ts';

/** Runs `entrepot status` with a configuration file that names this admin address. */
async function status(t: ExecutionContext, admin: string, args: readonly string[] = []) {
  const output = { stdout: '', stderr: '' };
  const code = await runCommand(['status', ...args], {
    env: {},
    cwd: createFolder(t, { 'entrepot.yaml': `listen: 127.0.0.1:0\nadmin: ${admin}\n` }),
    stdout: { write: (text) => (output.stdout += text) },
    stderr: { write: (text) => (output.stderr += text) },
    signals: { on: () => undefined, off: () => undefined },
    kill: () => undefined,
  });
  return { code, ...output };
}

test('a server that does well is told in a table: store, accounts, quota with its forecast', async (t) => {
  const { registry, mirror, clock, manifest } = await startScene(t, {
    registry: { auth: { kind: 'bearer', username: 'robot', password: 'secret-word' } },
    upstream: { credentials: { username: 'robot', password: 'secret-word' } },
  });
  registry.rateLimit({ limit: 100, remaining: 80, window: 21_600 });
  await manifest('latest');
  clock.advance(HOUR / 2);
  registry.addImage('library/app', 'next', buildImage({ seed: 'next', layers: [1] }));
  await manifest('next');
  await mirror.idle();
  const { usage } = mirror.server.catalog;
  const { code, stdout, stderr } = await status(t, new URL(mirror.server.adminUrl).host);
  t.is(stderr, '');
  t.is(
    stdout
      .replace(mirror.storePath, 'STORE')
      .replace(/^entrepot \S+,/, 'entrepot VERSION,')
      .replace(/\S+ \S+ of its disk free/, 'N of its disk free'),
    [
      'entrepot VERSION, up 30m, 0 downloads running',
      `store STORE: 2 blobs, ${(usage.bytes / 1024).toPrecision(3)} KiB of 1TiB, N of its disk free`,
      '0.0% of 2 requests since the start were hits',
      '',
      'UPSTREAM     ACCOUNT  QUOTA                                   STATE',
      'hub.example  robot    78 of 100 left, in 6h, empty in 19h30m  up',
      '',
    ].join('\n'),
  );
  t.is(code, 0);
});

test('an upstream that is down is told with its reason, and the exit code says it', async (t) => {
  const { registry, mirror, clock, manifest } = await startScene(t);
  await registry.refuse();
  await manifest('latest');
  const admin = new URL(mirror.server.adminUrl).host;
  const { code, stdout } = await status(t, admin);
  const since = new Date(clock.now()).toISOString();
  t.true(
    stdout.endsWith(`down since ${since}: no connection to ${registry.host} (ECONNREFUSED)\n`),
    stdout,
  );
  t.is(code, 1);
  const json = await status(t, admin, ['--json']);
  const { upstreams } = JSON.parse(json.stdout) as { upstreams: unknown };
  t.deepEqual(upstreams, [
    {
      name: UPSTREAM,
      state: 'down',
      since: clock.now(),
      reason: `no connection to ${registry.host} (ECONNREFUSED)`,
      accounts: [{ account: 'anonymous' }],
    },
  ]);
  t.is(json.code, 1);
});

test('a store full of pins exits with 1, also after a restart, until what it refused is kept', async (t) => {
  const storePath = await createTempFolder(t);
  const store = { maxBytes: 200_000 };
  const { registry, mirror, clock, manifest, blob, image, ask } = await startScene(t, {
    storePath,
    store,
  });
  await manifest('latest');
  await blob(image.layer(1));
  await mirror.idle();
  const pin = { origin: 'hand', image: `${UPSTREAM}/${REPOSITORY}:latest`, since: clock.now() };
  await mirror.server.store.care.pins.add(pin);
  const large = buildImage({ seed: 'large', layers: [199_000, 10] });
  registry.addImage('library/large', 'v1', large);
  const path = `/v2/library/large/blobs/${large.layer(0).digest}`;
  t.is((await status(t, new URL(mirror.server.adminUrl).host)).code, 0);
  t.true((await ask(path)).body.equals(large.layer(0).bytes));
  await mirror.idle();
  const { code, stdout } = await status(t, new URL(mirror.server.adminUrl).host);
  t.regex(stdout, /^store full since \S+: no room for 199000 bytes: /m);
  t.is(code, 1);
  await mirror.stop();
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const again = await startMirror(t, { storePath, store, clock, upstreams });
  const admin = new URL(again.server.adminUrl).host;
  const restarted = await status(t, admin);
  t.regex(restarted.stdout, /^store full since \S+: no room for 199000 bytes: /m);
  t.is(restarted.code, 1);
  // Small things still fit.
  const small = `/v2/library/large/blobs/${large.layer(1).digest}`;
  t.is((await get(`${again.url}${small}`)).status, 200);
  await again.idle();
  t.is((await status(t, admin)).code, 1);
  await again.server.store.care.pins.remove(pin);
  // The catalog of a store as small as this would be most of it.
  again.server.blobs.folders.otherSizes = async function* () {};
  again.server.store.care.otherBytes = 0;
  t.is((await get(`${again.url}${path}`)).status, 200);
  await again.idle();
  t.is((await status(t, admin)).code, 0);
  await again.stop();
  const last = await startMirror(t, { storePath, store, clock, upstreams });
  t.is((await status(t, new URL(last.server.adminUrl).host)).code, 0);
});

for (const isPinned of [true, false]) {
  test(`a start finds a store ${isPinned ? 'full of pins full' : 'that it can empty ok'}, before anything is refused`, async (t) => {
    const storePath = await createTempFolder(t);
    const { registry, mirror, clock, manifest, blob, image } = await startScene(t, { storePath });
    await manifest('latest');
    await blob(image.layer(1));
    await mirror.idle();
    const pin = { origin: 'hand', image: `${UPSTREAM}/${REPOSITORY}:latest`, since: clock.now() };
    if (isPinned) await mirror.server.store.care.pins.add(pin);
    await mirror.stop();
    const again = await startMirror(t, {
      storePath,
      store: { maxBytes: 4_000 },
      clock,
      upstreams: { [UPSTREAM]: { url: registry.url } },
    });
    await again.server.store.care.settled;
    const { code, stdout } = await status(t, new URL(again.server.adminUrl).host);
    t.is(/^store full since \S+: no room for 100 bytes: /m.test(stdout), isPinned, stdout);
    t.is(code, isPinned ? 1 : 0);
  });
}

test('the hit ratio is that of the requests since the start', async (t) => {
  const { mirror, manifest } = await startScene(t);
  const admin = new URL(mirror.server.adminUrl).host;
  t.regex((await status(t, admin)).stdout, /^no request since the start$/m);
  for (const tag of ['latest', 'latest', 'latest']) await manifest(tag);
  t.regex((await status(t, admin)).stdout, /^66\.7% of 3 requests since the start were hits$/m);
  const { stdout } = await status(t, admin, ['--json']);
  const { cache, uptimeSeconds, sync } = JSON.parse(stdout) as ServerStatus;
  t.deepEqual(cache, { requests: 3, hits: 2, hitRatio: 2 / 3 });
  t.is(uptimeSeconds, 0);
  t.is(sync, undefined);
});

test('a server of before what this command asks for is told from another program', async (t) => {
  const server = createServer((_, response) => {
    response.end('{ "version": "0.0.9", "store": { "path": "/srv/store" } }');
  });
  const { host } = await serve(t, server);
  const { code, stderr } = await status(t, host);
  t.is(code, 1);
  t.is(
    stderr.replace(/\([^)]*\)/, '(OWN)'),
    `entrepot: the server at ${host} is entrepot 0.0.9, older than this command (OWN): start it anew from this version\n`,
  );
});

test('what speaks no HTTP at the address is told', async (t) => {
  const server = createTcpServer((socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n'));
  const port = await claimPort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { code, stderr } = await status(t, `127.0.0.1:${port}`);
  t.is(code, 1);
  t.is(
    stderr,
    `entrepot: what listens at 127.0.0.1:${port} is not an admin API of entrepot (it does not speak HTTP): stop that program, or name another address\n`,
  );
});

test('an offline server says so', async (t) => {
  const { mirror } = await startScene(t, { offline: true });
  const { code, stdout } = await status(t, new URL(mirror.server.adminUrl).host);
  t.regex(stdout, /^entrepot \S+, offline, up 0s, 0 downloads running\n/);
  t.regex(stdout, /^hub\.example +offline$/m);
  t.is(code, 0);
});

test('without a server the address, the cause and the remedy are told', async (t) => {
  const port = await claimPort();
  t.deepEqual(await status(t, `127.0.0.1:${port}`), {
    code: 1,
    stdout: '',
    stderr: `entrepot: no server answers at 127.0.0.1:${port} (connect ECONNREFUSED 127.0.0.1:${port}): start it with "entrepot serve", or name its configuration with --config\n`,
  });
});

for (const [what, body] of [
  ['a page', '<h1>hello</h1>'],
  ['a 404', undefined],
] as const) {
  test(`another program at the address, with ${what}, is told from a server`, async (t) => {
    const server = createServer((_, response) => {
      response.statusCode = body === undefined ? 404 : 200;
      response.end(body ?? '{}');
    });
    const { host } = await serve(t, server);
    const { code, stderr } = await status(t, host);
    t.is(code, 1);
    t.is(
      stderr,
      `entrepot: what listens at ${host} is not an admin API of entrepot (it answered ${body === undefined ? 404 : 200}): stop that program, or name another address\n`,
    );
  });
}
