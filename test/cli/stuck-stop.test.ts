/** A stop that a disk or a long start holds up ends all the same, and what was promised is kept. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createInterface } from 'node:readline';
import test from 'ava';
import { serve } from '../../src/cli/serve.ts';
import { createLog } from '../../src/observe/log.ts';
import { createFolder } from '../config/config-folder.ts';
import { Gate } from '../helpers/gate.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { MAIN } from './run-main.ts';

const CONFIG =
  'listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ngrace: 100ms\noffline: true\nstore: { path: data }\n';

/** From the signal on no call of the disk is ever answered: each of the four threads waits for a pipe. */
const STUCK = (pipe: string): string =>
  `import { open } from 'node:fs';
   process.on('SIGUSR2', () => {
     for (let n = 0; n < 4; n += 1) open(${JSON.stringify(pipe)}, 'r', () => {});
     console.log(JSON.stringify({ msg: 'stuck' }));
   });`;

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

test('a disk that no longer answers holds up no stop, and the next start has the store', async (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': CONFIG });
  const folder = await createTempFolder(t);
  const [pipe, preload] = [join(folder, 'pipe'), join(folder, 'preload.mjs')];
  execFileSync('mkfifo', [pipe]);
  await writeFile(preload, STUCK(pipe));
  const start = (flags: string[] = []): ChildProcess => {
    const child = spawn(process.execPath, [...flags, MAIN, 'serve'], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    return child;
  };
  const first = start(['--import', preload]);
  const exited = once(first, 'exit');
  const tells = said(first);
  await tells('listening');
  first.kill('SIGUSR2');
  await tells('stuck');
  first.kill('SIGTERM');
  const words = text(first.stderr!);
  t.deepEqual(await exited, [null, 'SIGKILL']);
  t.regex(await words, /^entrepot: the stop took longer than 5 s and was cut short/);

  const next = start();
  const ended = once(next, 'exit');
  await said(next)('listening');
  next.kill('SIGTERM');
  t.deepEqual(await ended, [0, null]);
});

test('a start that makes the catalog anew holds up no stop', async (t) => {
  const signals = new EventEmitter();
  const context = {
    env: {},
    cwd: createFolder(t, { 'entrepot.yaml': CONFIG.replace('100ms', '8s') }),
    stdout: { write: () => true },
    stderr: { write: () => true },
    signals,
    exit: () => t.fail('the process ends by the kill'),
  };
  const [started, waited] = [new Gate(), new Gate()];
  const killed = Promise.withResolvers<number>();
  let stopMs = 0;
  const code = serve({}, context, {
    log: createLog({ level: 'silent' }),
    start: async () => {
      await started.pass();
      return { close: async () => undefined };
    },
    wait: async (ms) => {
      stopMs = ms;
      await waited.pass();
    },
    kill: () => killed.resolve(stopMs),
  });
  await started.arrived();
  signals.emit('SIGTERM', 'SIGTERM');
  await waited.arrived();
  waited.open();
  t.is(await killed.promise, 8000);
  started.open();
  t.is(await code, 0);
});
