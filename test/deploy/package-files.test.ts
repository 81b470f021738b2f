import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);
const PROJECT = join(import.meta.dirname, '..', '..');

test('the package has its documents and its files for deployment, and no tests', async (t) => {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const { stdout } = await run('npm', args, { cwd: PROJECT });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  for (const path of ['LICENSE', 'README.md', 'deploy/entrepot.example.yaml', 'package.json']) {
    t.true(paths.includes(path), path);
  }
  t.deepEqual(
    paths.filter((path) => /(^|\/)test\/|\.test\./.test(path)),
    [],
  );
});
