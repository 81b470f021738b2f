import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MeteredRegistry } from './metered-registry.ts';
import { Mirror } from './mirror.ts';
import { Netns } from './netns.ts';
import { suite } from './suite.ts';

const run = suite('podman with partial images', 'podman');
const KIB = 1024;
const FILES = 24;

run('podman: of the next zstd:chunked image the registry sends what has changed', async (t) => {
  t.timeout(120_000);
  const netns = await Netns.create();
  t.teardown(async () => netns.close());
  const { directory } = netns;
  const registry = await MeteredRegistry.start(netns, 1024 * KIB * KIB);
  const policy = join(directory, 'policy.json');
  await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  const maker = await podman(netns, 'maker');
  const node = await podman(netns, 'node');
  const files = join(directory, 'files');
  await mkdir(files);
  const change = async (at: number): Promise<void> =>
    writeFile(join(files, `file-${at}`), randomBytes(512 * KIB));
  for (let at = 0; at < FILES; at += 1) await change(at);

  /** Publishes what the folder has, and tells which layer that is. */
  const publish = async (tag: string): Promise<{ digest: string; size: number }> => {
    const tar = join(directory, `${tag}.tar`);
    await netns.run('tar', '--sort=name', '-C', files, '-cf', tar, '.');
    await maker('import', '--quiet', tar, `app:${tag}`);
    const how = ['--tls-verify=false', '--signature-policy', policy];
    const format = ['--compression-format', 'zstd:chunked'];
    await maker(
      'push',
      ...how,
      ...format,
      `app:${tag}`,
      `docker://127.0.0.1:5001/library/app:${tag}`,
    );
    const manifest = JSON.parse(await registry.registry.manifest('library/app', tag)) as {
      layers: [{ digest: string; size: number }];
    };
    return manifest.layers[0];
  };
  const bytesOf = async (digest: string): Promise<number> =>
    (await registry.take(digest)).reduce((sum, { bytes }) => sum + bytes, 0);

  const upstreams = { 'docker.io': { url: registry.url, hydrate: false } };
  const mirror = await Mirror.start(netns, { upstreams });
  const pull = async (tag: string): Promise<void> => {
    const name = `${new URL(mirror.url).host}/docker.io/library/app:${tag}`;
    await node('pull', '--quiet', '--tls-verify=false', '--signature-policy', policy, name);
    const root = (await node('image', 'mount', name)).trim();
    // It is mounted where only its own processes see it.
    await netns.run('diff', '--recursive', root, files);
    await node('image', 'unmount', name);
  };

  const first = await publish('1');
  await pull('1');
  t.true((await bytesOf(first.digest)) >= first.size);
  await change(7);
  const second = await publish('2');
  await pull('2');
  const bytes = await bytesOf(second.digest);
  // The file and the table at the end, in granules.
  t.true(bytes >= 512 * KIB && bytes <= 5 * 256 * KIB, `${bytes} of ${second.size}`);
});

type Command = (...args: string[]) => Promise<string>;

/** With a storage of its own, which takes parts of layers. */
async function podman(netns: Netns, name: string): Promise<Command> {
  const home = join(netns.directory, name);
  await mkdir(home);
  const settings = join(home, 'storage.conf');
  await writeFile(
    settings,
    `[storage]
driver = "overlay"
graphroot = "${join(home, 'root')}"
runroot = "${join(home, 'run')}"
[storage.options]
pull_options = { enable_partial_images = "true", use_hard_links = "false", ostree_repos = "" }
`,
  );
  const flags = [`--tmpdir=${join(home, 'tmp')}`, '--cgroup-manager=cgroupfs'];
  const fixed = [`CONTAINERS_STORAGE_CONF=${settings}`, 'podman', ...flags];
  return async (...args) => netns.run('env', ...fixed, '--events-backend=none', ...args);
}
