import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { formatTable } from '../../src/cli/format.ts';
import { createFolder } from '../config/config-folder.ts';
import { missingPackages, testUnless } from '../helpers/needs.ts';
import { until } from '../helpers/until.ts';
import { MAIN } from '../helpers/process.ts';
import { runMain } from './run-main.ts';

const YAML =
  'listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ngrace: 100ms\noffline: true\nstore: { path: data }\n';
/** More of them than a pipe takes at once. */
const PINS = Array.from({ length: 300 }, (_, n) => `quay.io/${'team/'.repeat(45)}app-${n}:v1`);

function start(
  t: ExecutionContext,
  { args, cwd, stdout }: { args: string[]; cwd: string; stdout: 'pipe' | number },
) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    stdio: ['ignore', stdout, 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

/** A server has signed the store while it runs. */
async function served(cwd: string): Promise<unknown> {
  return until('the server runs', () => existsSync(join(cwd, 'data', 'catalog.holder')));
}

/** The folder of a mirror that ran once. */
async function createStore(t: ExecutionContext, yaml: string): Promise<string> {
  const cwd = createFolder(t, { 'entrepot.yaml': yaml });
  const child = start(t, { args: ['serve'], cwd, stdout: openSync('/dev/null', 'w') });
  await served(cwd);
  child.kill('SIGTERM');
  t.deepEqual(await once(child, 'exit'), [0, null]);
  return cwd;
}

test('a reader that leaves is no failure, and the store that was open is closed', async (t) => {
  const yaml = YAML.replace(' }', `, pins: ${JSON.stringify(PINS)} }`);
  const cwd = await createStore(t, yaml);
  const child = start(t, { args: ['pins'], cwd, stdout: 'pipe' });
  const errors = text(child.stderr!);
  const [line] = (await once(child.stdout!, 'data')) as [Buffer];
  child.stdout!.destroy();
  const [code] = (await once(child, 'exit')) as [number];
  t.true(line.toString().startsWith('IMAGE'));
  t.deepEqual([code, await errors], [0, '']);
  t.is((await runMain(['verify'], { cwd })).code, 0);
});

test('a report that cannot be written is a failure that says why', async (t) => {
  const cwd = await createStore(t, YAML);
  const child = start(t, { args: ['pins'], cwd, stdout: openSync('/dev/full', 'w') });
  const errors = text(child.stderr!);
  const [code] = (await once(child, 'exit')) as [number];
  t.deepEqual([code, await errors], [1, 'entrepot: ENOSPC: no space left on device, write\n']);
});

test('a server whose log cannot be written serves, and ends with 0', async (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': YAML });
  const child = start(t, { args: ['serve'], cwd, stdout: openSync('/dev/full', 'w') });
  await served(cwd);
  child.kill('SIGTERM');
  t.deepEqual(await once(child, 'exit'), [0, null]);
});

const testHangUp = testUnless('a terminal that hangs up', missingPackages('script'));

testHangUp('a server whose terminal hangs up closes its store and ends with 0', async (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': YAML });
  // The outer shell dies with its terminal, which all others learn; the inner one writes the code down.
  const line = `(trap '' HUP; ${process.execPath} ${MAIN} serve; echo $? >code); true`;
  const terminal = spawn('script', ['--quiet', '--command', line, '/dev/null'], {
    cwd,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  t.teardown(() => terminal.kill('SIGKILL'));
  await served(cwd);
  terminal.kill('SIGKILL');
  const code = await until('the server ends', () => {
    const path = join(cwd, 'code');
    return existsSync(path) && readFileSync(path, 'utf8');
  });
  t.is(code, '0\n');
  t.is((await runMain(['verify'], { cwd })).code, 0);
});

test('through npm as README.md writes it the output is the document of --json alone', async (t) => {
  const project = fileURLToPath(new URL('../../', import.meta.url));
  const form = 'npm run --silent entrepot --';
  t.true(readFileSync(join(project, 'README.md'), 'utf8').includes(`\`${form} X\``));
  const cwd = createFolder(t, { 'entrepot.yaml': YAML });
  const [command = '', ...args] = form.split(' ');
  const options = ['--json', '--config', join(cwd, 'entrepot.yaml')];
  for (const [words, code] of [
    [['config', 'check'], 0],
    [['ls'], 1],
  ] as const) {
    const child = spawn(command, [...args, ...words, ...options], { cwd: project });
    const [[exit], out, errors] = await Promise.all([
      once(child, 'exit'),
      text(child.stdout),
      text(child.stderr),
    ]);
    t.is(exit, code, errors);
    const document = JSON.parse(code === 0 ? out : errors) as object;
    t.true(('valid' in document ? 'config' : 'error') in document);
    t.is(code === 0 ? errors : out, '');
  }
});

test('a table fits the terminal: names have a line of their own, words stay whole', (t) => {
  const table = [
    ['IMAGE', 'TAGS', 'DIGEST', 'SIZE', 'OWN', 'PULLED', 'STATE'],
    [
      'docker.io/library/nginx',
      '1.27, latest',
      'sha256:0123456789ab',
      '57.2 MiB',
      '40.1 MiB',
      '3 hours ago',
      'partial, 12.0 MiB missing, 37 % of it here, pinned',
    ],
    ['ghcr.io/org/app', '', 'sha256:fedcba987654', '512 B', '512 B', '40 days ago', 'complete'],
  ];
  const lines = [
    'IMAGE',
    '  TAGS         DIGEST               SIZE      OWN       PULLED       STATE',
    'docker.io/library/nginx',
    '  1.27,        sha256:0123456789ab  57.2 MiB  40.1 MiB  3 hours ago  partial,',
    '  latest                                                             12.0 MiB',
    '                                                                     missing, 37',
    '                                                                     % of it',
    '                                                                     here,',
    '                                                                     pinned',
    'ghcr.io/org/app',
    '               sha256:fedcba987654  512 B     512 B     40 days ago  complete',
  ];
  t.is(formatTable(table, 80), `${lines.join('\n')}\n`);
  t.true(lines.every((line) => line.length <= 80));
  const narrow = formatTable(table, 60).split('\n');
  t.true(
    narrow.every((line) => line.length <= 60),
    narrow.join('\n'),
  );
  t.false(formatTable(table, 200).includes('\n  '));
});
