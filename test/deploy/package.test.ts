/** What an operator gets who installs the packed file: what is in it, and that it serves, with whichever Node. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import anyTest, { type TestFn } from 'ava';
import { MirrorProcess } from '../helpers/process.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { get } from '../helpers/client.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { bareEnvironment, installPacked, packProject, type Packed } from './packed.ts';

const test = anyTest as TestFn<Packed & { readonly folders: string; readonly folder: string }>;
const PROJECT = join(import.meta.dirname, '..', '..');
const CHUNK = /^dist\/chunks\/[\w-]+-[A-Z0-9]{8}\.js$/;
const MINUTES = 60_000;

test.before(async (t) => {
  t.timeout(6 * MINUTES);
  const folders = await mkdtemp(join(tmpdir(), 'entrepot-package-'));
  const [checkout, folder] = [join(folders, 'checkout'), join(folders, 'installed')];
  await mkdir(folder);
  const packed = await packProject(checkout);
  await installPacked(folder, packed.tarball);
  Object.assign(t.context, packed, { folders, folder });
});
test.after.always((t) => rm(t.context.folders, { recursive: true, force: true }));

test('the packed file has the bundle, documents and files for deployment, and nothing else', (t) => {
  const { files } = t.context;
  const shipped = globSync('{deploy,docs,grafana}/**', { cwd: PROJECT, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(PROJECT.length + 1))
    .filter((path) => !path.startsWith('deploy/package/'))
    .filter((path) => !/\.ts$|\.test\.yaml$/.test(path));
  t.deepEqual(
    files.filter((path) => !CHUNK.test(path)),
    [
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'package.json',
      ...['THIRD-PARTY.txt', 'entrepot', 'main.js', 'package.json', 'sbom.cdx.json'].map(
        (name) => `dist/${name}`,
      ),
      ...globSync('*.ts', { cwd: join(PROJECT, 'src', 'api') }).map(
        (name) => `dist/api/${name.replace('.ts', '.d.ts')}`,
      ),
      'dist/api/index.d.ts',
      ...['accepts', 'scslre', 'tar-stream', 'tldts'].map((name) => `dist/late/${name}.cjs`),
      ...shipped,
    ].toSorted(),
  );
  t.true(files.some((path) => CHUNK.test(path)));
});

for (const how of ['no Node', 'an old Node', 'a supported Node'] as const) {
  test(`an image is pulled through the installed package with ${how} in the path`, async (t) => {
    const registry = await FakeRegistry.start(t);
    const image = buildImage({ seed: how, layers: [100_000] });
    registry.addImage('library/app', 'v1', image);
    const programs = await createTempFolder(t);
    const asked = join(programs, 'asked');
    await linkPrograms(programs);
    if (how === 'a supported Node') await symlink(process.execPath, join(programs, 'node'));
    if (how === 'an old Node') await writeProgram(join(programs, 'node'), 'echo v20.20.2');
    // No start may ask a package registry, for which it would need npm.
    await writeProgram(join(programs, 'npm'), `echo "$@" >>'${asked}'`);
    const mirror = await MirrorProcess.start(
      t,
      await createTempFolder(t),
      { upstreams: { 'docker.io': { url: registry.url } } },
      { program: [join(t.context.folder, 'node_modules/.bin/entrepot')], env: { PATH: programs } },
    );
    const app = `${mirror.url}/v2/library/app`;
    t.true((await get(`${app}/manifests/v1`)).body.equals(image.manifest.bytes));
    for (const { digest, bytes } of image.blobs) {
      t.true((await get(`${app}/blobs/${digest}`)).body.equals(bytes));
    }
    const node =
      how === 'a supported Node' ? process.execPath : join(t.context.folder, 'node_modules');
    t.true(mirror.executable.startsWith(node), mirror.executable);
    t.is(await mirror.end('SIGTERM'), 0);
    t.deepEqual(globSync(asked), []);
  });
}

test('without a Node that is new enough one line says what is needed', async (t) => {
  const programs = await createTempFolder(t);
  await linkPrograms(programs);
  await writeProgram(join(programs, 'node'), 'echo v20.20.2');
  const alone = await createTempFolder(t);
  const packages = join(t.context.folder, 'node_modules', 'entrepot');
  const copied = spawnSync('cp', ['-r', packages, alone]);
  t.is(copied.status, 0);
  const program = join(alone, 'entrepot', 'dist', 'entrepot');
  const { status, stdout, stderr } = spawnSync(program, ['--version'], {
    env: { PATH: programs },
    encoding: 'utf8',
  });
  const needed = packageJson.engines.node.replace('>=', '');
  t.deepEqual([status, stdout], [1, '']);
  t.is(
    stderr,
    `entrepot needs Node ${needed} or newer; Node 20.20.2 is in the PATH, and none was installed beside it: install a newer one\n`,
  );
});

test('npx runs it, with what it is given on its input and how it ends', (t) => {
  const { folder: cwd } = t.context;
  const npx = (...args: string[]): [number | null, string] => {
    const env = bareEnvironment();
    const { status, stdout } = spawnSync('npx', args, { cwd, env, encoding: 'utf8' });
    return [status, stdout];
  };
  const [code, told] = npx('entrepot', '--version');
  t.deepEqual([code, told.split(',')[0]], [0, `entrepot ${packageJson.version}`]);
  t.is(npx('entrepot', 'serve', '--config', 'absent.yaml')[0], 78);
  t.is(npx('entrepot', 'serve', '--colour')[0], 64);
});

test("npx runs it in the machine's Node where that is supported, not in the one that npm puts before it", async (t) => {
  const programs = await createTempFolder(t);
  const node = `case "$*" in */dist/main.js*) echo "the machine's"; exit 7 ;; esac\nexec '${process.execPath}' "$@"`;
  await writeProgram(join(programs, 'node'), node);
  const { status, stdout } = spawnSync('npx', ['entrepot', '--version'], {
    cwd: t.context.folder,
    env: bareEnvironment(programs),
    encoding: 'utf8',
  });
  t.deepEqual([status, stdout], [7, "the machine's\n"]);
});

test('what the suites of these files claim of the program holds for the installed one', async (t) => {
  t.timeout(5 * MINUTES);
  const suites = ['cli/config', 'cli/output', 'cli/program', 'cli/serve', 'http/lifecycle'];
  suites.push('e2e/offline');
  const files = suites.map((name) => join('test', `${name}.test.ts`));
  const ava = join(PROJECT, 'node_modules', '.bin', 'ava');
  const main = join(t.context.folder, 'node_modules', 'entrepot', 'dist', 'main.js');
  const child = spawn(process.execPath, [ava, '--concurrency=1', '--tap', ...files], {
    cwd: PROJECT,
    env: { ...process.env, ENTREPOT_MAIN: main },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  t.is(code, 0, output.replace(/^ok .*\n/gm, ''));
});

/** What the program needs of a system besides Node. */
async function linkPrograms(folder: string): Promise<void> {
  for (const name of ['sh', 'readlink', 'dirname'])
    await symlink(`/usr/bin/${name}`, join(folder, name));
}

async function writeProgram(path: string, script: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}
