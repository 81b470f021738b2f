/**
 * Has an earlier version of this program fill a store through its front door:
 *
 *   node test/deploy/earlier-store.ts COMMIT FOLDER
 *
 * made `fixtures/earlier`. The version runs from its own sources with the packages of this checkout.
 */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildArtifact, buildImage, buildIndex, type Stored } from '../helpers/image.ts';
import { MirrorProcess } from '../helpers/process.ts';

const run = promisify(execFile);
const PROJECT = join(import.meta.dirname, '..', '..');
const GIT = ['-c', 'safe.directory=*', '-C', PROJECT];
const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));

export const EARLIER_PIN = 'docker.io/library/app:v1';

type Teardown = Parameters<typeof FakeRegistry.start>[0];

/** Whether the history of this checkout, which may be a shallow clone, has it. */
export async function hasCommit(commit: string): Promise<boolean> {
  return run('git', [...GIT, 'cat-file', '-e', `${commit}^{commit}`]).then(
    () => true,
    () => false,
  );
}

/** The folder of its sources, ready to run. */
export async function checkOut(t: Teardown, commit: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-earlier-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  const archive = 'git "${@:2}" | tar -x -C "$1"';
  const args = [folder, ...GIT, 'archive', commit];
  await run('bash', ['-euo', 'pipefail', '-c', archive, 'bash', ...args]);
  await symlink(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** What `fillEarlier` pulls, by its path below `/v2/library/`: the same at each call. */
export function addEarlierImages(registry: FakeRegistry): Map<string, Stored> {
  const images = PLATFORMS.map((platform) => ({
    platform,
    image: buildImage({ seed: platform.architecture, layers: [700, 300], platform }),
  }));
  const index = buildIndex(images);
  const artifactType = 'application/vnd.example.signature';
  const signature = buildArtifact({ seed: 'signature', artifactType, subject: index.manifest });
  registry.addIndex('library/app', 'v1', index);
  registry.addImage('library/app', undefined, signature);
  const all = [...index.images, signature];
  const manifests = [index.manifest, ...all.map(({ manifest }) => manifest)];
  return new Map([
    ['app/manifests/v1', index.manifest],
    ...manifests.map((one) => [`app/manifests/${one.digest}`, one] as const),
    ...all.flatMap(({ blobs }) => blobs.map((one) => [`app/blobs/${one.digest}`, one] as const)),
  ]);
}

/** The store of this version, once it has pulled all and pinned the image. */
export async function fillEarlier(t: Teardown, commit: string): Promise<string> {
  const sources = await checkOut(t, commit);
  const registry = await FakeRegistry.start(t);
  const paths = addEarlierImages(registry).keys();
  const upstreams = { 'docker.io': { url: registry.url, hydrate: false } };
  const program = [process.execPath, join(sources, 'src', 'main.ts')];
  // An early version does not know the key.
  const settings = { upstreams, grace: undefined };
  const mirror = await MirrorProcess.start(t, sources, settings, { program });
  for (const path of paths) {
    const { status } = await get(`${mirror.url}/v2/library/${path}`);
    if (status !== 200) throw new Error(`${path}: ${status}`);
  }
  await get(`${mirror.adminUrl}/api/v1/pins`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ image: EARLIER_PIN, reason: 'kept' }),
  });
  const code = await mirror.end('SIGTERM');
  if (code !== 0) throw new Error(`it ended with ${code}`);
  return join(sources, 'store');
}

if (import.meta.main) {
  const [commit = '', folder = ''] = process.argv.slice(2);
  await using teardowns = new AsyncDisposableStack();
  const t = { teardown: (fn: () => unknown) => teardowns.defer(async () => void (await fn())) };
  await cp(await fillEarlier(t, commit), folder, { recursive: true });
}
