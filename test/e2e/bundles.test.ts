import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { claimAttachments } from './attachment-claims.ts';
import { formatImage, type Client } from './client.ts';
import { Containerd } from './containerd.ts';
import { digestOf, digestsOf, heldIn } from './digests.ts';
import { Dockerd } from './dockerd.ts';
import { FarSite } from './far-site.ts';
import { OTHER_REGISTRY } from './images.ts';
import { publishNextVersion } from './next-version.ts';
import { Podman } from './podman.ts';
import type { PublishedImage } from './published-image.ts';
import { pulls } from './pull-claims.ts';
import { publishRelease } from './release.ts';
import { suite } from './suite.ts';
import { Skopeo } from './skopeo.ts';
import { startSynced, type SyncedWorld } from './synced-world.ts';
import { startWorld, type World } from './world.ts';

const run = suite('bundles', 'dockerd', 'containerd', 'ctr', 'podman');

interface Carried {
  readonly digest: string;
  readonly size: number;
}

run('a site without a link has all by courier, and each round only what has changed', async (t) => {
  const near = await startSynced(t);
  const far = await FarSite.start(t, near);
  const { images, release } = near;
  const { receipt } = await imported(t, far, await far.create('first.tar'));
  t.deepEqual(await heldIn(far.mirror.storePath), await heldIn(near.mirror.storePath));
  const clients = await startClients(far);
  await pullAll(t, far, clients, [images.oci, images.docker, release.image, images.other]);
  await claimAttachments(t, far, release);

  const next = await publishNextVersion(near, images.oci, { name: 'second', as: '1' });
  const second = await far.create('second.tar', '--for', receipt);
  t.deepEqual(await carriedIn(near, second), inOrder(next.changed));
  await imported(t, far, second);
  await pullAll(t, far, clients, [next.image, images.docker, release.image, images.other]);
  await claimAttachments(t, far, release);

  const { opened, accepted, datagrams, unroutable } = await far.netns.dials();
  t.deepEqual([opened - accepted, datagrams, unroutable], [0, 0, 0], 'nobody looked for a link');
});

run('after a bundle is lost the next one made from what the site holds is right', async (t) => {
  const near = await startSynced(t);
  const far = await FarSite.start(t, near);
  const { receipt } = await imported(t, far, await far.create('first.tar'));

  const second = await publishNextVersion(near, near.images.oci, { name: 'second', as: '1' });
  const added = await publishNextVersion(near, near.images.oci, { name: 'added', as: '1.2' });
  const lost = await far.create('lost.tar', '--for', receipt);
  t.deepEqual(await carriedIn(near, lost), inOrder([...second.changed, ...added.changed]));

  const third = await publishNextVersion(near, second.image, { name: 'third', as: '1' });
  const right = await far.create('third.tar', '--for', await far.inventory());
  t.deepEqual(await carriedIn(near, right), inOrder([...third.changed, ...added.changed]));
  await imported(t, far, right);
  const podman = [await startPodman(far)];
  await pullAll(t, far, podman, [third.image, added.image, near.release.image]);

  const late = await far.import(lost);
  t.not(late.code, 0);
  t.regex(late.problems, /--allow-older/);
  await pullAll(t, far, podman, [third.image, added.image]);
});

run('a full bundle is an image layout that skopeo and ctr take', async (t) => {
  const near = await startWorld(t);
  t.timeout(300_000);
  const release = await publishRelease(near);
  const far = await FarSite.start(t, near);
  const { images } = near;
  const wanted = [images.oci, images.docker, release.image, images.other];
  const names = wanted.map(({ byTag }) => formatImage(byTag));
  const bundle = await far.create('full.tar', ...names);
  const folder = join(near.netns.directory, 'unpacked');
  await mkdir(folder);
  await near.netns.run('tar', '--extract', '--file', bundle, '--directory', folder);

  const named = await readNames(folder);
  t.deepEqual(
    wanted.map(({ byTag }) => named.get(formatImage(byTag))),
    wanted.map(({ byDigest }) => byDigest.reference),
  );
  const skopeo = await Skopeo.create(near.netns, near.mirror.url);
  for (const source of [`oci-archive:${bundle}`, `oci:${folder}`]) {
    for (const [name, digest] of named) {
      // skopeo keeps no list of Docker's in a layout, but the images of one.
      const isList = digest === images.docker.byDigest.reference;
      const copied = await skopeo.copy(`${source}:${name}`, ...(isList ? [] : ['--all']));
      const expected = isList ? digestsOf(images.docker.parts)[1]! : digest;
      t.is(digestOf(await readFile(join(copied, 'manifest.json'))), expected, `${source} ${name}`);
    }
  }
  await claimLoads(t, near, { bundle, wanted });
});

run('a full bundle of one platform is taken by ctr as well', async (t) => {
  const near = await startSynced(t);
  const far = await FarSite.start(t, near);
  const wanted = near.wanted.map(({ image }) => image);
  await claimLoads(t, near, { bundle: await far.create('full.tar'), wanted });
});

async function claimLoads(
  t: ExecutionContext,
  { netns, mirror }: World,
  { bundle, wanted }: { readonly bundle: string; readonly wanted: readonly PublishedImage[] },
): Promise<void> {
  const containerd = await Containerd.start(netns, mirror.url);
  await containerd.load(bundle);
  const loaded = await containerd.images();
  for (const { byTag, byDigest } of wanted) {
    t.is(loaded.get(formatImage(byTag)), byDigest.reference);
    t.deepEqual(await containerd.check(byTag), { isComplete: true, isUnpacked: true });
  }
}

async function imported(t: ExecutionContext, far: FarSite, bundle: string) {
  const result = await far.import(bundle);
  t.is(result.code, 0, result.problems);
  return result;
}

/** What a bundle carries, by the word of `bundle inspect`. */
async function carriedIn({ mirror }: SyncedWorld, bundle: string): Promise<Carried[]> {
  const { bundles } = JSON.parse(await mirror.tool('bundle', 'inspect', bundle, '--json')) as {
    readonly bundles: readonly { readonly blobs: readonly Carried[] }[];
  };
  return inOrder(bundles.flatMap(({ blobs }) => blobs));
}

function inOrder(carried: readonly Carried[]): Carried[] {
  return carried
    .map(({ digest, size }) => ({ digest, size }))
    .toSorted((one, other) => (one.digest < other.digest ? -1 : 1));
}

/** Digests by the names in the index of a layout. */
async function readNames(folder: string): Promise<Map<string, string>> {
  const { manifests } = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as {
    readonly manifests: readonly {
      readonly digest: string;
      readonly annotations?: Readonly<Record<string, string>>;
    }[];
  };
  return new Map(
    manifests.flatMap(({ digest, annotations }) => {
      const name = annotations?.['org.opencontainers.image.ref.name'];
      return name === undefined ? [] : [[name, digest] as const];
    }),
  );
}

async function startClients(far: FarSite): Promise<Client[]> {
  const { netns, mirror } = far;
  const dockerd = await Dockerd.start(netns, mirror.url);
  return [dockerd, await Containerd.start(netns, mirror.url), await startPodman(far)];
}

async function startPodman({ netns, mirror }: FarSite): Promise<Podman> {
  return Podman.create(netns, mirror.url, {
    'docker.io': 'docker.io',
    [OTHER_REGISTRY]: OTHER_REGISTRY.replace(':', '_'),
  });
}

/** By tag and by digest; dockerd knows a mirror of docker.io alone. */
async function pullAll(
  t: ExecutionContext,
  far: FarSite,
  clients: readonly Client[],
  wanted: readonly PublishedImage[],
): Promise<void> {
  for (const client of clients) {
    const pull = pulls(t, far, client);
    for (const image of wanted) {
      if (client instanceof Dockerd && image.byTag.registry === OTHER_REGISTRY) continue;
      await pull(image);
      await pull(image, image.byDigest);
    }
  }
}
