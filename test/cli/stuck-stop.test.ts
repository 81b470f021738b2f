/** A stop that a disk or a long start holds up ends all the same, and what was promised is kept. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { createStoreContext } from '../../src/cli/command-context.ts';
import { runCommand } from '../../src/cli/program.ts';
import { serve } from '../../src/cli/serve.ts';
import { syncDaemon } from '../../src/cli/sync-daemon.ts';
import { createLog } from '../../src/observe/log.ts';
import { createFolder } from '../config/config-folder.ts';
import { Gate } from '../helpers/gate.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { missingRights, testUnless } from '../helpers/needs.ts';
import { MAIN } from '../helpers/process.ts';

const CONFIG =
  'listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ngrace: 100ms\noffline: true\nstore: { path: data }\n';

/** From the signal on four threads wait for a pipe, as for a disk that never answers. */
const STUCK = (pipe: string): string =>
  `import { open } from 'node:fs';
   process.on('SIGUSR2', () => {
     for (let n = 0; n < 4; n += 1) open(${JSON.stringify(pipe)}, 'r', () => {});
     console.log(JSON.stringify({ msg: 'stuck' }));
   });
   process.on('SIGTERM', () => console.log(JSON.stringify({ msg: 'heard' })));`;

/** Waits for a line of the log. */
function said(child: ChildProcess): (message: string) => Promise<void> {
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return async (message) => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`the process ended without: ${message}`);
      if ((JSON.parse(value) as { msg: string }).msg === message) return;
    }
  };
}

/** A server four calls of which the disk never answers when it is told so, which are all that it can make by default. */
async function startStuck(
  t: ExecutionContext,
  { threads = 4, wrapper = [] }: { threads?: number; wrapper?: readonly string[] } = {},
) {
  const cwd = createFolder(t, { 'entrepot.yaml': CONFIG });
  const folder = await createTempFolder(t);
  const [pipe, preload] = [join(folder, 'pipe'), join(folder, 'preload.mjs')];
  execFileSync('mkfifo', [pipe]);
  await writeFile(preload, STUCK(pipe));
  const start = (flags: string[] = []): ChildProcess => {
    const [command, ...args] = [...wrapper, process.execPath, ...flags, MAIN, 'serve'] as const;
    const child = spawn(command, args, {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, UV_THREADPOOL_SIZE: String(threads) },
    });
    t.teardown(() => child.kill('SIGKILL'));
    return child;
  };
  const stuck = start(['--import', preload]);
  const exited = once(stuck, 'exit');
  const tells = said(stuck);
  await tells('listening');
  const pid = wrapper.length === 0 ? stuck.pid! : await onlyChild(stuck.pid!);
  process.kill(pid, 'SIGUSR2');
  await tells('stuck');
  return { stuck, pid, exited, tells, start };
}

async function onlyChild(pid: number): Promise<number> {
  return Number(await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8'));
}

for (const [what, threads] of [
  ['a disk that no longer answers', 4],
  ['a call that the disk never answers, beside others that it does,', 8],
] as const) {
  test(`${what} holds up no stop, and the next start has the store`, async (t) => {
    const { stuck, exited, start } = await startStuck(t, { threads });
    stuck.kill('SIGTERM');
    const words = text(stuck.stderr!);
    t.deepEqual(await exited, [null, 'SIGKILL']);
    t.regex(await words, /^entrepot: the stop took longer than 5 s and was cut short/);

    const next = start();
    const ended = once(next, 'exit');
    await said(next)('listening');
    next.kill('SIGTERM');
    t.deepEqual(await ended, [0, null]);
  });
}

test('a disk that no longer answers holds up no second signal', async (t) => {
  const { stuck, exited, tells } = await startStuck(t);
  stuck.kill('SIGTERM');
  await tells('heard');
  stuck.kill('SIGINT');
  t.deepEqual(await exited, [null, 'SIGINT']);
});

testUnless('the first process of a container', missingRights())(
  'the first process of a container, which cannot kill itself, is gone as soon',
  async (t) => {
    const wrapper = ['unshare', '--pid', '--fork', '--kill-child'];
    const { pid, exited, tells } = await startStuck(t, { wrapper });
    process.kill(pid, 'SIGTERM');
    await tells('heard');
    process.kill(pid, 'SIGINT');
    t.deepEqual(await exited, [130, null]);
  },
);

/** A process that stands in for ours, whose limit of a stop passes when it is told so. */
function createProcess(t: ExecutionContext, yaml = CONFIG) {
  const signals = new EventEmitter();
  const late = new Gate();
  const killed = Promise.withResolvers<unknown>();
  let stopMs = 0;
  const context = {
    env: {},
    cwd: createFolder(t, { 'entrepot.yaml': yaml }),
    stdout: { write: () => true },
    stderr: { write: () => true },
    signals,
    kill: (signal: string) => killed.resolve([signal, stopMs]),
    wait: async (ms: number) => {
      stopMs = ms;
      await late.pass();
    },
  };
  return { context, signals, late, killed: killed.promise };
}

test('a start that makes the catalog anew holds up no stop', async (t) => {
  const { context, signals, late, killed } = createProcess(t, CONFIG.replace('100ms', '8s'));
  const started = new Gate();
  const code = serve({}, context, {
    log: createLog({ level: 'silent' }),
    start: async () => {
      await started.pass();
      return { reload: () => undefined, close: async () => undefined };
    },
  });
  await started.arrived();
  signals.emit('SIGTERM', 'SIGTERM');
  await late.arrived();
  late.open();
  t.deepEqual(await killed, ['SIGKILL', 8000]);
  started.open();
  t.is(await code, 0);
});

test('a store that does not close holds up no stop of a command', async (t) => {
  const { context, signals, late, killed } = createProcess(t);
  const [opened, closed] = [new Gate(), new Gate()];
  const code = runCommand(['sync', 'run'], context, {
    startPrivateAdmin: async () => {
      await opened.pass();
      return { isNew: false, close: async () => closed.pass() };
    },
  });
  await opened.arrived();
  signals.emit('SIGTERM', 'SIGTERM');
  opened.open();
  await closed.arrived();
  late.open();
  t.deepEqual(await killed, ['SIGKILL', 5000]);
  closed.open();
  t.is(await code, 130);
  t.deepEqual(signals.eventNames(), []);
});

test('a schedule that does not end holds up no stop of the daemon', async (t) => {
  const rules = 'sync: { rules: [{ image: docker.io/library/nginx }] }';
  const yaml = `${CONFIG.replace('offline: true', 'offline: false')}${rules}\n`;
  const { context, signals, late, killed } = createProcess(t, yaml);
  const [opening, pause] = [new Gate(), async () => undefined];
  const server = new URL('http://127.0.0.1:1');
  const code = syncDaemon({ server }, createStoreContext(context, { pause }), {
    log: createLog({ level: 'silent' }),
    openSchedule: async () => {
      await opening.pass();
      return { async *runs() {} };
    },
  });
  await opening.arrived();
  signals.emit('SIGTERM', 'SIGTERM');
  late.open();
  t.deepEqual(await killed, ['SIGKILL', 5000]);
  opening.open();
  t.is(await code, 0);
});
