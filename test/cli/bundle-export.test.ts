import { execFile } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildArtifact, buildImage, buildIndex, digestOf, type Image } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { missingPackages, missingRights, testUnless } from '../helpers/needs.ts';
import { realImage } from '../sync/bundle/layout-folder.ts';
import { UPSTREAM } from '../sync/bundle/layout-site.ts';
import { runStoreCommand, type RunOptions } from './run-store-command.ts';

const testTools = testUnless(
  'skopeo, podman and umoci read what is exported',
  missingPackages('skopeo', 'podman', 'umoci') ?? missingRights(),
);

const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
const [amd64, arm64] = PLATFORMS.map((platform) =>
  buildImage({ seed: platform.architecture, layers: [40_000, 300], platform }),
) as [Image, Image];
const index = buildIndex([
  { image: amd64, platform: PLATFORMS[0]! },
  { image: arm64, platform: PLATFORMS[1]! },
]);
const signature = buildArtifact({
  seed: 'signature',
  artifactType: 'application/vnd.example.signature',
  subject: index.manifest,
});
const other = buildImage({ seed: 'other', layers: [5_000] });
const docker = buildImage({ seed: 'docker', layers: [700], docker: true });

async function start(t: ExecutionContext) {
  const registry = await FakeRegistry.start(t);
  for (const image of [amd64, arm64, signature]) registry.addImage('app', undefined, image);
  registry.addManifest('app', index.manifest, { tags: ['v1'] });
  registry.addImage('other', 'v1', other);
  registry.addImage('real', 'v2', await realImage('real'));
  registry.addImage('docker', 'v3', docker);
  const mirror = await startMirror(t, { upstreams: { [UPSTREAM]: { url: registry.url } } });
  const folder = join(await createTempFolder(t), 'layout');
  const admin = new URL(mirror.server.adminUrl).host;
  const run = async (args: readonly string[], options: RunOptions = {}) =>
    runStoreCommand(t, ['bundle', 'export', '--oci-layout', folder, ...args], {
      admin,
      parts: { pause: async () => pause(5) },
      ...options,
    });
  return { registry, mirror, folder, run };
}

/** Every blob, by its digest; each must be what its name says. */
async function blobsIn(t: ExecutionContext, folder: string): Promise<string[]> {
  const names = await readdir(join(folder, 'blobs', 'sha256'));
  for (const name of names) {
    t.is(digestOf(await readFile(join(folder, 'blobs', 'sha256', name))), `sha256:${name}`);
  }
  return names.map((name) => `sha256:${name}`).toSorted();
}

interface Index {
  readonly manifests: readonly { digest: string; annotations: Record<string, string> }[];
}

async function listed(folder: string) {
  const { manifests } = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as Index;
  return manifests.map(({ digest, annotations }) => [digest, ...Object.values(annotations)]);
}

function digestsOf(...images: readonly Image[]): string[] {
  const all = images.flatMap(({ manifest, blobs }) => [manifest, ...blobs]);
  return [...new Set(all.map(({ digest }) => digest))];
}

test('an image is written to a layout with its own digests, and another one is added', async (t) => {
  const { folder, run } = await start(t);
  const { code, stdout, stderr } = await run(['hub.example/app:v1']);
  t.deepEqual([code, stderr], [0, '']);
  t.is(
    stdout.replace(folder, 'FOLDER'),
    [
      'image     hub.example/app:v1',
      `digest    ${index.manifest.digest}`,
      'folder    FOLDER:v1',
      'written   9 blobs of 81.5 KiB',
      '',
    ].join('\n'),
  );
  t.deepEqual(await readdir(folder), ['blobs', 'index.json', 'oci-layout']);
  const all = [index.manifest.digest, ...digestsOf(amd64, arm64)].toSorted();
  t.deepEqual(await blobsIn(t, folder), all);
  t.deepEqual(await listed(folder), [[index.manifest.digest, 'hub.example/app:v1', 'v1']]);

  const added = await run(['other:v1', '--json']);
  t.like(JSON.parse(added.stdout), { image: 'hub.example/other:v1', blobs: 3, problems: [] });
  // The tag is taken by another image.
  t.deepEqual(await listed(folder), [
    [index.manifest.digest, 'hub.example/app:v1', 'v1'],
    [other.manifest.digest, 'hub.example/other:v1', 'hub.example/other:v1'],
  ]);
  const again = await run(['app:v1', '--json']);
  t.like(JSON.parse(again.stdout), { ref: 'v1', blobs: 0 });
  t.is((await listed(folder)).length, 2);
});

test('of an index the platforms that are named, and what is left out is told', async (t) => {
  const { registry, folder, run } = await start(t);
  const { stdout } = await run(['app:v1', '--platforms', 'linux/arm64']);
  t.regex(stdout, /left out  linux\/amd64\n/);
  const here = [index.manifest.digest, ...digestsOf(arm64)].toSorted();
  t.deepEqual(await blobsIn(t, folder), here);
  t.false(registry.conversation().some((line) => line.includes(amd64.layer(0).digest)));
});

test('an image by its digest is listed by it', async (t) => {
  const { folder, run } = await start(t);
  const name = `hub.example/app@${amd64.manifest.digest}`;
  const { code } = await run([name]);
  t.is(code, 0);
  t.deepEqual(await listed(folder), [[amd64.manifest.digest, name, name]]);
});

test('an export takes no number of the bundles that are made', async (t) => {
  const { mirror, run } = await start(t);
  await run(['app:v1']);
  t.false((await readdir(mirror.storePath)).includes('bundles-made.json'));
});

test('what is damaged in the folder is written anew, and leftovers of a kill are in nobody’s way', async (t) => {
  const { folder, run } = await start(t);
  await run(['other:v1']);
  const path = (digest: string) => join(folder, 'blobs', 'sha256', digest.slice(7));
  await writeFile(path(other.layer(0).digest), 'damaged');
  await writeFile(join(folder, '.index.json.tmp'), '{');
  const { stdout } = await run(['other:v1']);
  t.regex(stdout, /written   1 blob of 4.88 KiB/);
  t.deepEqual(await blobsIn(t, folder), digestsOf(other).toSorted());
});

test('what cannot be fetched, and a folder with something else, is said, and nothing is written', async (t) => {
  const { folder, run } = await start(t);
  const absent = await run(['app:v9']);
  t.is(absent.code, 1);
  t.regex(
    absent.stdout,
    /^nothing was written:\nIMAGE +REASON\nhub.example\/app:v9 +the upstream has/,
  );
  await t.throwsAsync(readdir(folder));
  const wrong = await run(['app:v1', '--platforms', 'x86']);
  t.deepEqual([wrong.code, wrong.stdout], [64, '']);
  const taken = dirname(folder);
  await writeFile(join(taken, 'letter.txt'), 'dear');
  const other = await run(['app:v1', '--oci-layout', taken]);
  t.is(other.code, 1);
  t.regex(other.stderr, /has something else than an OCI layout in it: name an empty folder/);
  t.deepEqual(await readdir(taken), ['letter.txt']);
});

testTools('skopeo, podman and umoci read what is exported', async (t) => {
  const { folder, run } = await start(t);
  await run(['real:v2']);
  const home = await createTempFolder(t);
  const policy = join(home, 'policy.json');
  await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  const call = async (command: string, ...args: string[]): Promise<string> =>
    (await promisify(execFile)(command, args, { cwd: dirname(folder) })).stdout;
  const { manifest, config } = await realImage('real');
  await call('skopeo', '--policy', policy, 'copy', `oci:${folder}:v2`, `dir:${home}/copy`);
  t.deepEqual(await readFile(join(home, 'copy', 'manifest.json')), manifest.bytes);
  t.is((await call('umoci', 'ls', '--layout', folder)).trim(), 'v2');
  await run(['docker:v3', '--oci-layout', join(home, 'docker')]);
  await call('skopeo', '--policy', policy, 'copy', `oci:${home}/docker:v3`, `dir:${home}/copy`);
  t.deepEqual(await readFile(join(home, 'copy', 'manifest.json')), docker.manifest.bytes);
  await call('umoci', 'unpack', '--image', `${folder}:v2`, join(home, 'bundle'));
  t.deepEqual((await readdir(join(home, 'bundle', 'rootfs'))).toSorted(), ['one', 'two']);
  const storage = [`--root=${home}/root`, `--runroot=${home}/run`, '--storage-driver=vfs'];
  const id = await call('podman', ...storage, 'pull', '--quiet', 'oci:layout:v2');
  t.is(`sha256:${id.trim()}`, config.digest);
});
