/** What `npm start` runs: what was built, for as long as it is what the sources say. */
import { execFile } from 'node:child_process';
import { cp, mkdir, rm, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { createTempFolder } from '../helpers/mirror.ts';

const run = promisify(execFile);
const PROJECT = join(import.meta.dirname, '..', '..');
const SOURCES = ['src/store/a.ts', 'sync/b.ts', 'package-lock.json'];
const INSTALLED = 'node_modules/.package-lock.json';
const STAMP = '.cache/bundle.json';
const [BEFORE, BUILT, AFTER] = [1_000_000, 2_000_000, 3_000_000];

/** A checkout with programs that say which they are, built after its last change. */
async function checkout(t: ExecutionContext): Promise<string> {
  const folder = await createTempFolder(t);
  const put = async (name: string, content: string): Promise<void> => {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  };
  const says = (what: string): string => `console.log('${what}', ...process.argv.slice(2));\n`;
  await put('src/entrepot.js', says('sources'));
  await put('dist/main.js', says('dist'));
  for (const name of [...SOURCES, INSTALLED, STAMP]) await put(name, '');
  await mkdir(join(folder, 'deploy', 'package'), { recursive: true });
  for (const name of ['package.json', 'deploy/package/start.sh', 'deploy/package/build.ts'])
    await cp(join(PROJECT, name), join(folder, name));
  const names = ['src', 'src/store', 'src/entrepot.js', 'sync', 'package.json', 'deploy/package'];
  names.push('deploy/package/start.sh', 'deploy/package/build.ts', INSTALLED, ...SOURCES);
  for (const name of names) await utimes(join(folder, name), BEFORE, BEFORE);
  await utimes(join(folder, STAMP), BUILT, BUILT);
  return folder;
}

async function start(cwd: string): Promise<string> {
  const { stdout } = await run('npm', ['--silent', 'start', '--', '--config', 'a b.yaml'], { cwd });
  return stdout.trim();
}

test('what is built and fresh is run, with what is given to npm', async (t) => {
  t.is(await start(await checkout(t)), 'dist serve --config a b.yaml');
});

for (const changed of [...SOURCES, INSTALLED, 'package.json', 'deploy/package/build.ts']) {
  test(`the sources are run once ${changed} is newer than the build`, async (t) => {
    const folder = await checkout(t);
    await utimes(join(folder, changed), AFTER, AFTER);
    t.is(await start(folder), 'sources serve --config a b.yaml');
  });
}

for (const gone of ['src/store/a.ts', STAMP, 'dist', INSTALLED]) {
  test(`the sources are run when ${gone} is gone`, async (t) => {
    const folder = await checkout(t);
    await rm(join(folder, gone), { recursive: true });
    t.is(await start(folder), 'sources serve --config a b.yaml');
  });
}
