import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { claimAttachments } from './attachment-claims.ts';
import { Containerd } from './containerd.ts';
import { countDials, NO_DIALS } from './dials.ts';
import { digestsOf } from './digests.ts';
import { Dockerd } from './dockerd.ts';
import { OTHER_REGISTRY } from './images.ts';
import { Podman } from './podman.ts';
import type { PublishedImage } from './published-image.ts';
import { pulls } from './pull-claims.ts';
import { suite } from './suite.ts';
import { PLATFORMS, startSynced, SYNC } from './synced-world.ts';
import type { SyncedWorld } from './synced-world.ts';
import type { World } from './world.ts';

const run = suite('sync', 'dockerd', 'containerd', 'ctr', 'podman');

interface Status {
  readonly rules: number;
  readonly counts: object;
  readonly unresolved?: unknown;
  readonly images: readonly { readonly checkedAt: number }[];
}

run('what was synced is pulled by every client with the registries gone', async (t) => {
  const world = await startSynced(t);
  const { netns, mirror, origin, otherOrigin, images, release } = world;
  t.deepEqual(await mirror.command('sync', 'plan', '--json').then(({ code }) => code), 0);

  await Promise.all([origin.stop(), otherOrigin.stop()]);
  const ready = { rules: 3, counts: { ready: 4, partial: 0, stale: 0, unresolved: 0 } };
  t.deepEqual(await status(world), { code: 0, ...ready, images: await describe(world) });

  const hub = [images.oci, images.docker, release.image];
  const pullAll = async (pull: ReturnType<typeof pulls>, wanted: readonly PublishedImage[]) => {
    for (const image of wanted) {
      await pull(image);
      await pull(image, image.byDigest);
    }
  };
  await pullAll(pulls(t, world, await Dockerd.start(netns, mirror.url)), hub);
  await pullAll(pulls(t, world, await Containerd.start(netns, mirror.url)), [...hub, images.other]);
  const paths = { 'docker.io': 'docker.io', [OTHER_REGISTRY]: OTHER_REGISTRY.replace(':', '_') };
  const podman = await Podman.create(netns, mirror.url, paths);
  await pullAll(pulls(t, world, podman), [...hub, images.other]);
  t.deepEqual(await status(world), { code: 0, ...ready, images: await describe(world) });
});

run('signature and SBOM of what was synced are there with the registries gone', async (t) => {
  const world = await startSynced(t);
  const { origin, otherOrigin, release } = world;
  await Promise.all([origin.stop(), otherOrigin.stop()]);
  await claimAttachments(t, world, release);
});

run('offline: what was not chosen is told by name, what is lost as well', async (t) => {
  const world = await startSynced(t);
  const { mirror, settings, release, images } = world;
  const { name, digest } = release.otherPlatform;
  await mirror.restart({ ...settings, offline: true, sync: SYNC }, 'SIGTERM');

  const dials = await countDials(world, async () => {
    t.is((await status(world)).code, 0);
    const [held, other] = await mirror.ask(
      'GET /v2/library/app/manifests/1.1',
      `GET /v2/library/app/manifests/${digest}`,
    );
    t.is(held!.status, 200);
    t.is(other!.status, 404);
    t.deepEqual(JSON.parse(other!.body).errors[0].code, 'MANIFEST_UNKNOWN');
    const message = `docker.io/library/app is mirrored here without ${name}, and this site is offline`;
    t.is(JSON.parse(other!.body).errors[0].message, message);
  });
  t.deepEqual(dials, NO_DIALS);

  const lost = images.other.parts.at(-1)!.replace('blobs/', '');
  const size = await sizeIn(images.otherData, lost);
  await rm(blobPath(mirror.storePath, lost));
  const [last, ...others] = (await describe(world)).toReversed();
  t.deepEqual(await status(world), {
    code: 1,
    rules: 3,
    counts: { ready: 3, partial: 1, stale: 0, unresolved: 0 },
    images: [
      ...others.toReversed(),
      {
        ...last,
        state: 'partial',
        bytes: last!.bytes - size,
        missingBytes: size,
        missing: [{ digest: lost, size }],
        reason: 'one file is missing',
      },
    ],
  });
  const table = await mirror.command('sync', 'status');
  t.is(table.code, 1);
  t.regex(table.output, /^registry\.test:5000\/library\/app +1 +partial .*one file is missing$/m);
  const explained = await mirror.command('explain', `${OTHER_REGISTRY}/library/app:1`);
  t.is(explained.code, 0);
  t.true(explained.output.includes(lost), explained.output);
});

/** As `sync status` has to tell it, sizes from the registries' own files. */
async function describe({ images, wanted }: SyncedWorld) {
  return Promise.all(
    wanted.map(async ({ image, rule, parts }) => {
      const data = image === images.other ? images.otherData : images.data;
      const digests = [...new Set(digestsOf(parts))];
      const sizes = await Promise.all(digests.map(async (digest) => sizeIn(data, digest)));
      const { registry, repository, reference: tag } = image.byTag;
      return {
        image: `${registry}/${repository}`,
        tag,
        digest: image.byDigest.reference,
        rule,
        platforms: PLATFORMS,
        state: 'ready',
        bytes: sizes.reduce((sum, size) => sum + size, 0),
        missingBytes: 0,
        missing: [] as object[],
        checkedAt: 0,
      };
    }),
  );
}

/** What `sync status --json` tells, but for times. */
async function status({ mirror }: World) {
  const { code, output } = await mirror.command('sync', 'status', '--json');
  const { rules, counts, unresolved, images } = JSON.parse(output) as Status;
  return {
    code,
    rules,
    counts,
    images: images.map((image) => ({ ...image, checkedAt: 0 })),
    ...(unresolved !== undefined && { unresolved }),
  };
}

function blobPath(store: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join(store, 'blobs', algorithm, hex.slice(0, 2), hex);
}

/** Of a blob or a manifest, as docker-registry keeps them. */
async function sizeIn(data: string, digest: string): Promise<number> {
  const hex = digest.replace('sha256:', '');
  const path = join(data, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
  return (await stat(path)).size;
}
