import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { createTempFolder } from '../helpers/mirror.ts';

const ROOT = join(import.meta.dirname, '..', '..');
/** A suite of the made-up checkout, with one test to pass and one to skip: the closing line counts both. */
const SUITE = `import test from 'ava';
test('passes', (t) => t.pass());
test.runIf(false)('is left out', (t) => t.pass());
`;
const BROKEN = `${SUITE}test('fails', (t) => t.fail());\n`;
const UNSTEADY = `import { existsSync, writeFileSync } from 'node:fs';
${SUITE}test('fails once', (t) => {
  const isAgain = existsSync('ran');
  writeFileSync('ran', '');
  t.true(isAgain);
});
`;
const CRASHED = `${SUITE}setImmediate(() => { throw new Error('crashed'); });\n`;
const ENDLESS = `import { createServer } from 'node:net';
${SUITE}createServer().listen();
test('never ends', async (t) => { await new Promise(() => {}); t.pass(); });
`;

interface Machine {
  /** What each npm command does; the others do nothing and succeed. */
  readonly commands: Readonly<Record<string, string>>;
  readonly installs?: boolean;
}

/** The last line of `.ci/run`, and how it ended, in a checkout with these commands. */
async function runOn(t: ExecutionContext, machine: Machine): Promise<readonly [string, number]> {
  const { lines, code } = await outputOn(t, machine);
  return [lines.at(-1) ?? '', code];
}

async function outputOn(t: ExecutionContext, machine: Machine) {
  const folder = await createTempFolder(t);
  const programs = join(folder, 'programs');
  await mkdir(join(folder, 'test'));
  await mkdir(programs);
  await cp(join(ROOT, '.ci'), join(folder, '.ci'), { recursive: true });
  for (const script of ['summary.ts', 'failed-suites.ts']) {
    await cp(join(ROOT, 'test', script), join(folder, 'test', script));
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  const suites = {
    'whole.test.js': SUITE,
    'broken.test.js': BROKEN,
    'crashed.test.js': CRASHED,
    'endless.test.js': ENDLESS,
    'unsteady.test.js': UNSTEADY,
  };
  for (const [name, suite] of Object.entries(suites)) await writeFile(join(folder, name), suite);
  const cases = Object.entries(machine.commands).map(([name, does]) => `'${name}') ${does};;`);
  const isInstalled = machine.installs === undefined ? 'echo ok installed' : 'false';
  for (const [name, script] of Object.entries({
    npm: `ava() { node_modules/.bin/node node_modules/.bin/ava "$1"; }\ncase "$*" in ${cases.join(' ')} esac`,
    'dpkg-query': isInstalled,
    'apt-get': String(machine.installs ?? true),
  })) {
    await writeFile(join(programs, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(programs, name), 0o755);
  }
  const { CI: _, ...env } = process.env;
  const child = spawn(join(folder, '.ci', 'run'), {
    env: { ...env, PATH: `${programs}${delimiter}${env['PATH']}` },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return { lines: output.trim().split('\n'), code: Number(code) };
}

const whole = 'ava whole.test.js';

test('the last line of a run counts what passed and what was skipped', async (t) => {
  const commands = { 'run test:rooms': whole, 'run test:peers': whole, 'run test:deploy': whole };
  t.deepEqual(await runOn(t, { commands }), ['3 passed, 0 failed, 3 skipped', 0]);
});

test('it counts a test that failed and a suite that crashed, beside what passed', async (t) => {
  const commands = {
    'run test:rooms': 'ava broken.test.js',
    'run test:peers': 'ava crashed.test.js',
  };
  t.deepEqual(await runOn(t, { commands }), ['2 passed, 2 failed, 2 skipped', 1]);
});

test('it counts what passed also where the check, a package or the peers failed', async (t) => {
  const commands = { 'run check': 'exit 1', 'run test:rooms': whole, 'run test:peers': 'exit 1' };
  t.deepEqual(await runOn(t, { commands, installs: false }), ['1 passed, 3 failed, 1 skipped', 1]);
});

test('a run that could not install the project counts one failure', async (t) => {
  t.deepEqual(await runOn(t, { commands: { ci: 'exit 1' } }), ['0 passed, 1 failed', 1]);
});

test('a suite that passes when it is run again is told as unsteady, and stops nothing', async (t) => {
  const commands = { 'run test:rooms': 'ava unsteady.test.js', 'run test:peers': whole };
  const { lines, code } = await outputOn(t, { commands });
  const told = 'Unsteady, they failed and passed when run again:';
  t.deepEqual(lines.slice(lines.indexOf(told)), [
    told,
    '  ~ ✘ [fail]: fails once',
    '2 passed, 0 failed, 2 skipped',
  ]);
  t.is(code, 0);
});

test('a suite that never ends is run again beside one that failed by chance, and stays a failure', async (t) => {
  const ava =
    'node_modules/.bin/node node_modules/.bin/ava --timeout=3s endless.test.js unsteady.test.js';
  const { lines, code } = await outputOn(t, { commands: { 'run test:rooms': ava } });
  t.true(lines.includes('a second time: unsteady.test.js endless.test.js'), lines.join('\n'));
  t.is(code, 1);
});

test('where more suites fail than a chance explains none is run again', async (t) => {
  const suites = ['one', 'two', 'three', 'four'].map((name) => `${name}.test.js`).join(' ');
  const commands = {
    'run test:rooms': `for suite in ${suites}; do cp whole.test.js $suite; echo "  $suite:1"; done; exit 1`,
  };
  const { lines, code } = await outputOn(t, { commands });
  t.false(lines.some((line) => line.startsWith('a second time')));
  t.is(code, 1);
});
