import { EventEmitter } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { runCommand } from '../../src/cli/program.ts';
import { rebuildCatalog, startPrivateAdmin } from '../../src/server.ts';
import { createFolder } from '../config/config-folder.ts';
import { NOWHERE } from './run-store-command.ts';

/** Runs commands in a folder with a configuration of which no server runs, and no store. */
function inEmptyFolder(t: ExecutionContext) {
  const yaml = `listen: 127.0.0.1:0\nadmin: ${NOWHERE}\nstore: { path: data, minFreeBytes: 0 }\n`;
  const cwd = createFolder(t, { 'entrepot.yaml': yaml, list: 'a\n' });
  const run = async (...args: string[]) => {
    const output = { stdout: '', stderr: '' };
    const context = {
      env: {},
      cwd,
      stdout: { write: (text: string) => (output.stdout += text) },
      stderr: { write: (text: string) => (output.stderr += text) },
      signals: new EventEmitter(),
      kill: () => t.fail('the command must not end the process'),
    };
    const openLog = () => pino({ level: 'silent' });
    const pause = async () => undefined;
    const parts = { openLog, pause, startPrivateAdmin, rebuildCatalog };
    return { code: await runCommand(args, context, parts), ...output };
  };
  return { store: join(cwd, 'data'), run };
}

for (const args of [
  ['ls'],
  ['explain', 'nginx'],
  ['gc', '--dry-run'],
  ['gc'],
  ['rm', 'nginx:1'],
  ['warm', 'nginx'],
  ['verify'],
  ['verify', '--rebuild'],
  ['pins'],
  ['pin', 'nginx'],
  ['pin', '--in-use', 'list'],
  ['unpin', 'nginx'],
  ['sync', 'status'],
]) {
  test(`${args.join(' ')}: where no store is none is made, and that is said`, async (t) => {
    const { store, run } = inEmptyFolder(t);
    const said = `there is no store at ${store}: start one with "entrepot serve", or name its configuration with --config`;
    t.deepEqual(await run(...args), { code: 1, stdout: '', stderr: `entrepot: ${said}\n` });
    t.false(existsSync(store));
    // A disk that was mounted for it is no store either.
    mkdirSync(join(store, 'lost+found'), { recursive: true });
    const { code, stdout, stderr } = await run(...args, '--json');
    t.deepEqual([code, stdout, JSON.parse(stderr)], [1, '', { error: said }]);
    t.false(existsSync(join(store, 'format')));
  });
}

test('sync plan: where no store is it plans as for an empty one, and leaves none', async (t) => {
  const { store, run } = inEmptyFolder(t);
  const { code, stdout, stderr } = await run('sync', 'plan', '--json');
  t.is(stderr, `there is no store at ${store} yet: all is planned as for an empty one\n`);
  t.is((JSON.parse(stdout) as { totals: { heldBytes: number } }).totals.heldBytes, 0);
  t.is(code, 0);
  t.false(existsSync(store));
});

test('status makes no store', async (t) => {
  const { store, run } = inEmptyFolder(t);
  const { code, stderr } = await run('status');
  t.regex(stderr, /^entrepot: no server answers at /);
  t.is(code, 1);
  t.false(existsSync(store));
});

test('sync run makes the store that it fills, and then the others find it', async (t) => {
  const { store, run } = inEmptyFolder(t);
  await run('sync', 'run');
  t.true(existsSync(join(store, 'format')));
  t.deepEqual(await run('ls'), { code: 0, stdout: 'nothing is held\n', stderr: '' });
});
