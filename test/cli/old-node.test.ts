import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const ENTRY = fileURLToPath(new URL('../../src/entrepot.js', import.meta.url));

/** Starts the entry in a Node that takes itself for another version. */
function startAs(version: string): { status: number | null; stdout: string; stderr: string } {
  const pretend = `Object.defineProperty(process, 'versions', { value: { node: '${version}' } })`;
  const args = ['--import', `data:text/javascript,${pretend}`, ENTRY, 'help'];
  return spawnSync(process.execPath, args, { encoding: 'utf8' });
}

for (const version of ['18.20.8', '20.20.2', '24.14.9']) {
  test(`Node ${version} is told in one line what is needed`, (t) => {
    const { status, stdout, stderr } = startAs(version);
    t.is(status, 1);
    t.is(stdout, '');
    t.is(stderr.trim().split('\n').length, 1);
    t.regex(stderr, new RegExp(`^entrepot needs Node 24.15 or newer .*${version}.*npm ci`));
  });
}

for (const version of ['24.15.0', '26.0.0']) {
  test(`Node ${version} starts`, (t) => {
    const { status, stdout } = startAs(version);
    t.is(status, 0);
    t.regex(stdout, /Usage: entrepot/);
  });
}
