import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:net';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import type { CommandContext } from '../../src/cli/command-context.ts';
import { serve, type ServeParts } from '../../src/cli/serve.ts';
import { createLog } from '../../src/observe/log.ts';
import { createFolder } from '../config/config-folder.ts';
import { Gate } from '../helpers/gate.ts';
import { serve as listenAt } from '../helpers/serve.ts';
import { runMain, startMain } from './run-main.ts';

const QUIET =
  'listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ngrace: 100ms\noffline: true\nstore: { path: data }\n';

/** A process that stands in for ours: its signals are sent by hand, its end is only written down. */
function createContext(t: ExecutionContext, yaml = QUIET) {
  const signals = new EventEmitter();
  const kills: string[] = [];
  const errors: string[] = [];
  const context: CommandContext = {
    env: {},
    cwd: createFolder(t, { 'entrepot.yaml': yaml }),
    stdout: { write: () => true },
    stderr: { write: (text) => errors.push(text) },
    signals,
    kill: (signal) => kills.push(signal),
  };
  return { context, signals, kills, errors };
}

test('log.level is that of the process, whose lines are JSON where it is no terminal', async (t) => {
  const yaml = `${QUIET}log: { level: warn }\nupstreams: { docker.io: { tls: { insecure: true } } }\n`;
  const child = startMain(['serve'], { cwd: createFolder(t, { 'entrepot.yaml': yaml }) });
  t.teardown(() => child.kill('SIGKILL'));
  const [told] = (await once(child.stdout!, 'data')) as [Buffer];
  const [line = ''] = told.toString().split('\n');
  const { level, msg } = JSON.parse(line) as Record<string, string>;
  t.deepEqual([level, msg?.split(':')[0]], ['warn', 'upstreams.docker.io.tls.insecure']);
});

/** A server whose start and end wait for a test. */
function createParts() {
  const started = new Gate();
  const closed = new Gate();
  const reloads: string[] = [];
  const { promise: first, resolve } = Promise.withResolvers<void>();
  const parts: Pick<ServeParts, 'log' | 'start'> = {
    log: createLog({ level: 'silent' }),
    start: async () => {
      await started.pass();
      const reload = (): void => {
        reloads.push('reloaded');
        resolve();
      };
      return { reload, close: async () => closed.pass() };
    },
  };
  return { parts, started, closed, reloads, first };
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal} closes the server and waits for it`, async (t) => {
    const { context, signals, kills } = createContext(t);
    const { parts, started, closed } = createParts();
    started.open();
    const code = serve({}, context, parts);
    signals.emit(signal, signal);
    await closed.arrived();
    t.deepEqual(kills, []);
    closed.open();
    t.is(await code, 0);
    t.deepEqual(signals.eventNames(), []);
  });
}

test('a second signal ends the process at once', async (t) => {
  const { context, signals, kills } = createContext(t);
  const { parts, started, closed } = createParts();
  started.open();
  const code = serve({}, context, parts);
  signals.emit('SIGTERM', 'SIGTERM');
  await closed.arrived();
  signals.emit('SIGINT', 'SIGINT');
  t.deepEqual(kills, ['SIGINT']);
  closed.open();
  await code;
});

test('a Ctrl-C that npm passes on besides is one, and the next one ends the process at once', async (t) => {
  const { context, signals, kills } = createContext(t);
  const { parts, started, closed } = createParts();
  let now = 0;
  started.open();
  const code = serve({}, { ...context, steady: () => now }, parts);
  signals.emit('SIGINT', 'SIGINT');
  await closed.arrived();
  now = 499;
  signals.emit('SIGINT', 'SIGINT');
  t.deepEqual(kills, []);
  now = 500;
  signals.emit('SIGINT', 'SIGINT');
  t.deepEqual(kills, ['SIGINT']);
  closed.open();
  await code;
});

test('SIGHUP has the configuration read again, once the server runs; one before counts once', async (t) => {
  const { context, signals } = createContext(t);
  const { parts, started, closed, reloads, first } = createParts();
  const code = serve({}, context, parts);
  await started.arrived();
  for (let count = 0; count < 3; count += 1) signals.emit('SIGHUP', 'SIGHUP');
  t.deepEqual(reloads, []);
  started.open();
  closed.open();
  await first;
  t.deepEqual(reloads, ['reloaded']);
  signals.emit('SIGHUP', 'SIGHUP');
  t.deepEqual(reloads, ['reloaded', 'reloaded']);
  signals.emit('SIGTERM', 'SIGTERM');
  t.is(await code, 0);
  t.deepEqual(signals.eventNames(), []);
});

test('a signal during the start closes what has started', async (t) => {
  const { context, signals } = createContext(t);
  const { parts, started, closed } = createParts();
  const code = serve({}, context, parts);
  await started.arrived();
  signals.emit('SIGTERM', 'SIGTERM');
  started.open();
  await closed.arrived();
  closed.open();
  t.is(await code, 0);
});

test('a fault of the program itself is thrown on, not explained away', async (t) => {
  const { context, errors } = createContext(t);
  const fault = new TypeError('a bug');
  const start = async () => Promise.reject(fault);
  const { parts } = createParts();
  t.is(await t.throwsAsync(serve({}, context, { ...parts, start })), fault);
  t.deepEqual(errors, []);
});

test('warnings of the configuration are logged', async (t) => {
  const { context, signals } = createContext(
    t,
    `${QUIET}upstreams: { docker.io: { tls: { insecure: true } } }`,
  );
  const { parts, started, closed } = createParts();
  const warnings: string[] = [];
  parts.log.warn = (_: unknown, text?: string) => warnings.push(String(text));
  started.open();
  closed.open();
  const code = serve({}, context, parts);
  signals.emit('SIGTERM', 'SIGTERM');
  await code;
  t.deepEqual(warnings, [
    'upstreams.docker.io.tls.insecure: the certificate of this upstream is not checked',
  ]);
});

/** Resolves with the log up to and with the line that says the server listens. */
async function listening(child: ChildProcess): Promise<Listening> {
  const lines = linesOf(child);
  for (;;) {
    const { value, done } = await lines.next();
    if (done) throw new Error('the process ended without listening');
    if (value['msg'] !== 'listening') continue;
    return { url: String(value['url']), adminUrl: String(value['adminUrl']), lines };
  }
}

interface Listening {
  readonly url: string;
  readonly adminUrl: string;
  /** What the log says after it. */
  readonly lines: AsyncGenerator<Record<string, unknown>>;
}

async function* linesOf(child: ChildProcess): AsyncGenerator<Record<string, unknown>> {
  for await (const line of createInterface({ input: child.stdout! })) {
    yield JSON.parse(line) as Record<string, unknown>;
  }
}

test('the program serves until SIGTERM and then exits with 0', async (t) => {
  const child = startMain(['serve'], { cwd: createFolder(t, { 'entrepot.yaml': QUIET }) });
  t.teardown(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  const { url } = await listening(child);
  t.is((await fetch(`${url}/v2/`)).status, 200);
  child.kill('SIGTERM');
  t.deepEqual(await exited, [0, null]);
});

for (const [set, threads] of [
  [undefined, Math.min(4 + availableParallelism(), 16)],
  ['3', 3],
] as const) {
  test(`its pool has a thread a core beside four, unless it is told: ${set}`, async (t) => {
    const env = set === undefined ? {} : { UV_THREADPOOL_SIZE: set };
    const child = startMain(['serve'], { cwd: createFolder(t, { 'entrepot.yaml': QUIET }), env });
    t.teardown(() => child.kill('SIGKILL'));
    const exited = once(child, 'exit');
    await listening(child);
    const tasks = readdirSync(`/proc/${child.pid}/task`);
    const names = tasks.map((task) => readFileSync(`/proc/${child.pid}/task/${task}/comm`, 'utf8'));
    t.is(names.filter((name) => name === 'libuv-worker\n').length, threads);
    child.kill('SIGTERM');
    t.deepEqual(await exited, [0, null]);
  });
}

test('SIGHUP: the program takes a good file, refuses a broken one in words, and serves on', async (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': QUIET });
  const child = startMain(['serve'], { cwd });
  t.teardown(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  const { url, lines } = await listening(child);
  const hangUpWith = async (yaml: string): Promise<Record<string, unknown>> => {
    writeFileSync(join(cwd, 'entrepot.yaml'), `${QUIET}${yaml}`);
    child.kill('SIGHUP');
    for (;;) {
      const { value = {} } = await lines.next();
      if (String(value['msg']).includes('reloaded')) return value;
    }
  };
  const collector = 'tracing: { otlp: "http://127.0.0.1:9/v1/traces" }';
  const taken = await hangUpWith(`defaultUpstream: ghcr.io\n${collector}\n`);
  t.like(taken, { changed: ['defaultUpstream'], restart: ['tracing'] });
  const refused = await hangUpWith('upstreems: {}\n');
  t.is(refused['msg'], 'configuration not reloaded, the one before stays in force');
  t.regex(String(refused['problems']), /upstreems/);
  // A file that is gone is no wish for the defaults.
  rmSync(join(cwd, 'entrepot.yaml'));
  child.kill('SIGHUP');
  const { value: gone = {} } = await lines.next();
  t.is(gone['msg'], 'configuration not reloaded, the one before stays in force');
  t.regex(String(gone['problems']), /entrepot\.yaml/);
  t.is((await fetch(`${url}/v2/`)).status, 200);
  child.kill('SIGTERM');
  t.deepEqual(await exited, [0, null]);
});

test('SIGTERM to npm ends the server with its last words', async (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': QUIET });
  const project = fileURLToPath(new URL('../../', import.meta.url));
  const args = ['--silent', '--prefix', project, 'start', '--', '--config', `${cwd}/entrepot.yaml`];
  const npm = spawn('npm', args, {
    cwd: project,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  // A server that does not hear of it must not outlive the test.
  const late = setTimeout(() => process.kill(-npm.pid!, 'SIGKILL'), 60_000);
  t.teardown(() => clearTimeout(late));
  const exited = once(npm, 'exit');
  const messages: string[] = [];
  for await (const line of createInterface({ input: npm.stdout })) {
    const { msg } = JSON.parse(line) as { msg: string };
    messages.push(msg);
    if (msg === 'listening') npm.kill('SIGTERM');
  }
  t.deepEqual(
    messages.filter((msg) => msg.startsWith('stop')),
    ['stopping', 'stopped'],
  );
  await exited;
});

for (const args of [['serve'], ['ls'], ['verify', '--rebuild']]) {
  test(`${args.join(' ')}: a store.path that is a file is one line with the remedy`, async (t) => {
    const cwd = createFolder(t, { 'entrepot.yaml': QUIET, data: 'a file' });
    const { code, stderr } = await runMain(args, { cwd });
    const where = `${cwd}/data`;
    t.true(
      stderr.startsWith(
        `entrepot: store.path: ${where} cannot be used: a file stands where a folder is needed (`,
      ),
      stderr,
    );
    t.true(stderr.endsWith('); set a folder that can be written\n'), stderr);
    t.is(code, 1);
  });
}

test('a port in use is one line and exit code 1', async (t) => {
  const { port } = await listenAt(t, createServer());
  const yaml = QUIET.replace('listen: 127.0.0.1:0', `listen: 127.0.0.1:${port}`);
  const cwd = createFolder(t, { 'entrepot.yaml': yaml });
  const { code, stderr } = await runMain(['serve'], { cwd });
  const reason = `listen: 127.0.0.1:${port} is in use by another process; stop that one, or set another address`;
  t.is(stderr, `entrepot: ${reason}\n`);
  t.is(code, 1);
  const json = await runMain(['serve', '--json'], { cwd });
  t.deepEqual(JSON.parse(json.stderr), { error: reason });
  t.is(json.code, 1);
});

test('a store in use is one line that says by whom, and exit code 1', async (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': QUIET });
  const first = startMain(['serve'], { cwd });
  t.teardown(() => first.kill('SIGKILL'));
  const exited = once(first, 'exit');
  const { adminUrl } = await listening(first);
  const { code, stderr } = await runMain(['serve'], { cwd });
  const holder = `${first.pid}, its admin API is at ${adminUrl}`;
  const reason = `the store ${cwd}/data is in use by another process (${holder}); stop it, or set another store.path`;
  t.is(stderr, `entrepot: ${reason}\n`);
  t.is(code, 1);
  // A command that finds no server at the configured address meets the same one.
  const listed = await runMain(['ls', '--json'], { cwd });
  t.deepEqual(
    { ...listed, stderr: JSON.parse(listed.stderr) as unknown },
    { code: 1, stdout: '', stderr: { error: reason } },
  );
  first.kill('SIGTERM');
  t.deepEqual(await exited, [0, null]);
});
