import { rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import type { LayoutReport } from '../../src/api/layout-api.ts';
import { buildImage, buildIndex } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { writeFiles } from '../sync/bundle/layout-folder.ts';
import {
  blobEntry,
  blobsOf,
  layoutOf,
  named,
  startSite,
  tarOf,
} from '../sync/bundle/layout-site.ts';
import { runStoreCommand, type RunOptions } from './run-store-command.ts';

const app = buildImage({ seed: 'app', layers: [40_000, 3_000] });
const arm64 = { os: 'linux', architecture: 'arm64' };
const index = buildIndex([
  { image: app, platform: { os: 'linux', architecture: 'amd64' } },
  { image: buildImage({ seed: 'arm', layers: [10] }), platform: arm64 },
]);
const FILES = layoutOf([named(index.manifest, undefined, '1')], [index.manifest, ...blobsOf(app)]);

async function start(t: ExecutionContext) {
  const site = await startSite(t);
  const folder = await createTempFolder(t);
  const admin = new URL(site.mirror.server.adminUrl).host;
  const run = async (args: readonly string[], options: RunOptions = {}) =>
    runStoreCommand(t, ['bundle', 'import', ...args], { admin, ...options });
  return { site, folder, run };
}

const SAID = [
  'image      hub.example/app:1',
  `digest     ${index.manifest.digest}`,
  'platforms  linux/amd64',
  'left out   linux/arm64',
  'came       5 blobs of 43.7 KiB new',
  '',
].join('\n');

test('a folder and a tar of an OCI layout are imported, and what came of them is told', async (t) => {
  const { site, folder, run } = await start(t);
  await writeFiles(join(folder, 'layout'), [...FILES, { name: 'README', bytes: 'not of it' }]);
  const tar = join(folder, 'layout.tar');
  await writeFile(tar, await tarOf(FILES));
  const first = await run([join(folder, 'layout'), '--as', 'app:1']);
  t.deepEqual(first, { code: 0, stdout: SAID, stderr: '' });
  t.deepEqual((await site.pull('manifests/1')).body, index.manifest.bytes);
  for (const { digest, bytes } of app.blobs) {
    t.deepEqual((await site.pull(`blobs/${digest}`)).body, bytes);
  }
  const second = await run([tar, '--as', 'app:2', '--ref', '1', '--json']);
  const report = JSON.parse(second.stdout) as LayoutReport;
  t.like(report, { image: 'hub.example/app:2', blobs: 0, skipped: 0 });
});

test('a docker-archive comes from standard input, and what is lost of it is told', async (t) => {
  const { site, run } = await start(t);
  const Layers = app.layers.map((_, at) => `${at}/layer.tar`);
  const tar = await tarOf([
    ...app.layers.map(({ bytes }, at) => ({ name: Layers[at]!, bytes })),
    { name: 'config.json', bytes: app.config.bytes },
    { name: 'manifest.json', bytes: JSON.stringify([{ Config: 'config.json', Layers }]) },
  ]);
  const stdin = (): Readable => Readable.from([tar]);
  const { code, stdout } = await run(['-', '--as', 'app:1'], { stdin });
  t.is(code, 0);
  t.true(stdout.includes('note       registry digests are not kept: a docker-archive has no'));
  t.is((await site.pull('manifests/1')).status, 200);
});

test('on a terminal a line says how much was sent', async (t) => {
  const { folder, run } = await start(t);
  await writeFiles(folder, FILES);
  const { stderr } = await run([folder, '--as', 'app:1'], { isTTY: true, columns: 100 });
  t.regex(stderr, /\[#+\] 50\.5 KiB of 50\.5 KiB/);
});

test('what is no layout is refused with what to do', async (t) => {
  const { folder, run } = await start(t);
  const refused = async (...args: string[]) => {
    const { code, stderr } = await run(args);
    return [code, stderr.replaceAll(folder, 'FOLDER')];
  };
  const as = ['--as', 'app:1'];
  t.deepEqual(await refused(join(folder, 'none'), ...as), [
    1,
    'entrepot: FOLDER/none cannot be read (ENOENT)\n',
  ]);
  t.deepEqual(await refused(folder, ...as), [
    1,
    'entrepot: FOLDER: the folder is none of an OCI layout, it has no blobs: name the one that "skopeo copy" or "umoci" wrote\n',
  ]);
  await writeFiles(folder, FILES);
  const layer = join(folder, blobEntry(app.layer(0)).name);
  await rm(layer);
  t.regex(String((await refused(folder, ...as))[1]), /is missing: it is not the whole image/);
  await symlink('/etc/passwd', layer);
  t.regex(String((await refused(folder, ...as))[1]), /is a link or no file, and is not followed/);
  t.deepEqual(await refused(folder, '--ref', '1'), [
    64,
    'entrepot: 1 problem in the command line\n  --ref goes with --as\n"entrepot bundle import --help" tells how it is written\n',
  ]);
  t.regex(String((await refused(folder, 'b', ...as))[1]), /--as takes one layout: write one path/);
  t.regex(
    String((await refused('-', ...as, '--allow-older'))[1]),
    /are for bundles; leave them out/,
  );
});
