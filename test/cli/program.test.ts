import { readFileSync } from 'node:fs';
import test from 'ava';
import { createFolder } from '../config/config-folder.ts';
import { runMain } from './run-main.ts';

const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  }
).version;

test('--version is that of the package, beside that of Node', async (t) => {
  const { node } = process.versions;
  const cwd = createFolder(t, {});
  const plain = await runMain(['--version'], { cwd });
  t.deepEqual(plain, { code: 0, stdout: `entrepot ${VERSION}, Node ${node}\n`, stderr: '' });
  for (const args of [
    ['--version', '--json'],
    ['--json', '-V'],
  ]) {
    const { code, stdout } = await runMain(args, { cwd });
    t.deepEqual([code, JSON.parse(stdout)], [0, { version: VERSION, node }]);
  }
});

for (const [name, usage] of [
  ['ls', 'ls [options] [glob]'],
  ['explain', 'explain [options] <image>'],
  ['gc', 'gc [options]'],
  ['verify', 'verify [options]'],
  ['pin', 'pin [options] [image]'],
  ['pins', 'pins [options]'],
  ['unpin', 'unpin [options] <image>'],
] as const) {
  test(`${name} --help says how it is written, and that it takes --config and --json`, async (t) => {
    const { code, stdout } = await runMain([name, '--help'], { cwd: createFolder(t, {}) });
    t.is(code, 0);
    t.is(stdout.split('\n')[0], `Usage: entrepot ${usage}`);
    t.regex(stdout, /^ {2}-c, --config <file> /m);
    t.regex(stdout, /^ {2}--json /m);
  });
}

test('an unknown command is a usage error', async (t) => {
  const result = await runMain(['sevre'], { cwd: createFolder(t, {}) });
  t.deepEqual(result, {
    code: 64,
    stdout: '',
    stderr:
      'entrepot: 1 problem in the command line\n' +
      '  sevre: there is no such command; did you mean "entrepot serve"?\n' +
      '"entrepot --help" tells how it is written\n',
  });
});

test('an unknown option is a usage error', async (t) => {
  const result = await runMain(['config', 'check', '--quiet'], { cwd: createFolder(t, {}) });
  t.deepEqual(result, {
    code: 64,
    stdout: '',
    stderr:
      'entrepot: 1 problem in the command line\n' +
      '  --quiet: entrepot config check has no such option; leave it out\n' +
      '"entrepot config check --help" tells how it is written\n',
  });
});

test('an argument too many is a usage error', async (t) => {
  const result = await runMain(['serve', 'site.yaml'], { cwd: createFolder(t, {}) });
  t.is(result.code, 64);
  t.is(result.stdout, '');
});

test('no command at all is a usage error that shows the commands', async (t) => {
  const { code, stdout, stderr } = await runMain([], { cwd: createFolder(t, {}) });
  t.is(code, 64);
  t.is(stdout, '');
  t.regex(stderr, /^Usage: entrepot /);
});
