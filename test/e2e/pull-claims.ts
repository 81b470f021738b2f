import type { ExecutionContext } from 'ava';
import type { Client, ImageName } from './client.ts';
import { countDials, NO_DIALS } from './dials.ts';
import { describeFiles } from './file-tree.ts';
import type { PublishedImage } from './published-image.ts';
import type { suite } from './suite.ts';
import { startWorld } from './world.ts';
import type { World } from './world.ts';

export interface Subject {
  readonly name: string;
  readonly start: (world: World) => Promise<Client>;
  /** It asks for a digest by HEAD before it GETs it. */
  readonly headsDigests?: boolean;
}

/** What the mirror promises to every client, each claim in a world of its own. */
export function claimPulls(run: ReturnType<typeof suite>, subject: Subject): void {
  const { name, start, headsDigests = false } = subject;

  for (const types of ['oci', 'docker'] as const) {
    run(
      `${name}: a cold pull fetches each part once, a warm one nothing (${types} types)`,
      async (t) => {
        const world = await startWorld(t);
        const { origin } = world;
        const image = world.images[types];
        const pull = pulls(t, world, await start(world));

        await pull(image);
        t.deepEqual(await origin.takeRequests(), [...fetches(image), revalidation(image)]);
        await pull(image);
        t.deepEqual(await origin.takeRequests(), [revalidation(image)]);
        await pull(image, image.byDigest);
        t.deepEqual(await origin.takeRequests(), []);
      },
    );
  }

  run(`${name}: a pull by digest asks for no tag, a fresh tag for nothing`, async (t) => {
    const world = await startWorld(t, { tags: { ttl: '1h' } });
    const { origin } = world;
    const image = world.images.oci;
    const pull = pulls(t, world, await start(world));

    await pull(image, image.byDigest);
    const head = `HEAD ${pathOf(image, image.parts[0]!)}`;
    t.deepEqual(await origin.takeRequests(), [...fetches(image), ...(headsDigests ? [head] : [])]);
    await pull(image);
    t.deepEqual(await origin.takeRequests(), [revalidation(image)]);
    await pull(image);
    t.deepEqual(await origin.takeRequests(), []);
  });

  run(`${name}: what was pulled survives a restart and a kill of the mirror`, async (t) => {
    const world = await startWorld(t);
    const { origin, mirror, settings } = world;
    const image = world.images.oci;
    const pull = pulls(t, world, await start(world));

    await pull(image);
    await origin.takeRequests();
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      await mirror.restart(settings, signal);
      await pull(image);
      t.deepEqual(await origin.takeRequests(), [revalidation(image)], signal);
      await pull(image, image.byDigest);
      t.deepEqual(await origin.takeRequests(), [], signal);
    }
  });

  run(`${name}: with offline: true what is held is served and nothing is dialled`, async (t) => {
    const world = await startWorld(t);
    const { mirror, settings } = world;
    const image = world.images.oci;
    const pull = pulls(t, world, await start(world));

    await pull(image);
    await mirror.restart({ ...settings, offline: true }, 'SIGTERM');
    const dials = await countDials(world, async () => {
      await pull(image);
      await pull(image, image.byDigest);
    });
    t.deepEqual(dials, NO_DIALS);
  });

  run(
    `${name}: what was pulled once is served while the upstream hangs and when it is gone`,
    async (t) => {
      const world = await startWorld(t);
      const { origin, mirror, settings } = world;
      const image = world.images.oci;
      const pull = pulls(t, world, await start(world));
      const pullBoth = async () => {
        await pull(image);
        await pull(image, image.byDigest);
      };

      await pull(image);
      await origin.hang();
      await pullBoth();
      await origin.stop();
      await pullBoth();
      await mirror.restart(settings, 'SIGTERM');
      await pull(image);
    },
  );
}

/**
 * Pulls, compares the files with the original's, and removes all of it again. That the client asked
 * for every part again shows in what the kernel carried.
 */
export function pulls(t: ExecutionContext, { netns }: Pick<World, 'netns'>, client: Client) {
  return async (image: PublishedImage, name: ImageName = image.byTag): Promise<void> => {
    const before = await netns.traffic();
    const root = await client.pull(name);
    const carried = (await netns.traffic()) - before;
    t.true(carried >= image.bytes, `only ${carried} of ${image.bytes} bytes crossed the network`);
    t.deepEqual(await describeFiles(root), image.files);
    await client.remove(name);
  };
}

/** How a tag is resolved, whatever the client sent: a HEAD costs no quota. */
function revalidation(image: PublishedImage): string {
  return `HEAD ${pathOf(image, 'manifests/1')}`;
}

/** Every part by its digest, once, in order of text. */
function fetches(image: PublishedImage): string[] {
  return image.parts.map((part) => `GET ${pathOf(image, part)}`).toSorted();
}

function pathOf({ byTag }: PublishedImage, part: string): string {
  return `/v2/${byTag.repository}/${part}`;
}
