import { EventEmitter, once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import type { ChildProcess } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import type { CommandContext } from '../../src/cli/command-context.ts';
import { serve, type ServeParts } from '../../src/cli/serve.ts';
import { createLog } from '../../src/observe/log.ts';
import { createFolder } from '../config/config-folder.ts';
import { Gate } from '../helpers/gate.ts';
import { runMain, startMain } from './run-main.ts';

const QUIET = 'listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\noffline: true\nstore: { path: data }\n';

/** A process that stands in for ours: its signals are sent by hand, its end is only written down. */
function createContext(t: ExecutionContext, yaml = QUIET) {
  const signals = new EventEmitter();
  const exits: number[] = [];
  const errors: string[] = [];
  const context: CommandContext = {
    env: {},
    cwd: createFolder(t, { 'entrepot.yaml': yaml }),
    stdout: { write: () => true },
    stderr: { write: (text) => errors.push(text) },
    signals,
    exit: (code) => exits.push(code),
  };
  return { context, signals, exits, errors };
}

/** A server whose start and end wait for a test. */
function createParts() {
  const started = new Gate();
  const closed = new Gate();
  const parts: ServeParts = {
    log: createLog({ level: 'silent' }),
    start: async () => {
      await started.pass();
      return { close: async () => closed.pass() };
    },
  };
  return { parts, started, closed };
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal} closes the server and waits for it`, async (t) => {
    const { context, signals, exits } = createContext(t);
    const { parts, started, closed } = createParts();
    started.open();
    const code = serve({}, context, parts);
    signals.emit(signal, signal);
    await closed.arrived();
    t.deepEqual(exits, []);
    closed.open();
    t.is(await code, 0);
    t.deepEqual(signals.eventNames(), []);
  });
}

test('a second signal ends the process at once with 130', async (t) => {
  const { context, signals, exits } = createContext(t);
  const { parts, started, closed } = createParts();
  started.open();
  const code = serve({}, context, parts);
  signals.emit('SIGTERM', 'SIGTERM');
  await closed.arrived();
  signals.emit('SIGINT', 'SIGINT');
  t.deepEqual(exits, [130]);
  closed.open();
  await code;
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
async function listening(child: ChildProcess): Promise<{ url: string; adminUrl: string }> {
  for await (const line of createInterface({ input: child.stdout! })) {
    const entry = JSON.parse(line) as { msg: string; url: string; adminUrl: string };
    if (entry.msg === 'listening') return entry;
  }
  throw new Error('the process ended without listening');
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

test('a port in use is one line and exit code 1', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo;
  const yaml = QUIET.replace('listen: 127.0.0.1:0', `listen: 127.0.0.1:${port}`);
  const cwd = createFolder(t, { 'entrepot.yaml': yaml });
  const { code, stderr } = await runMain(['serve'], { cwd });
  t.is(stderr, `entrepot: 127.0.0.1:${port} is in use by another process\n`);
  t.is(code, 1);
  const json = await runMain(['serve', '--json'], { cwd });
  t.deepEqual(JSON.parse(json.stderr), { error: `127.0.0.1:${port} is in use by another process` });
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
