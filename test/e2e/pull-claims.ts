import type { ExecutionContext } from 'ava';
import type { Client, ImageName } from './client.ts';
import { describeFiles } from './file-tree.ts';
import type { PublishedImage } from './published-image.ts';
import type { suite } from './suite.ts';
import { startWorld } from './world.ts';
import type { World } from './world.ts';

type StartClient = (world: World) => Promise<Client>;

const REVALIDATION = 'HEAD /v2/library/app/manifests/1';

/** What the mirror promises to every client, each claim in a world of its own. */
export function claimPulls(run: ReturnType<typeof suite>, name: string, start: StartClient): void {
  for (const [format, kind] of Object.entries({ oci: 'an OCI', v2s2: 'a Docker' } as const)) {
    run(
      `${name}: a cold pull of ${kind} image fetches each part once, a warm one nothing`,
      async (t) => {
        const world = await startWorld(t, {}, format as 'oci' | 'v2s2');
        const { origin, image } = world;
        const client = await start(world);

        await pullWhole(t, client, image, image.byTag);
        t.deepEqual(await origin.takeRequests(), coldRequests(image));
        await pullWhole(t, client, image, image.byTag);
        t.deepEqual(await origin.takeRequests(), [REVALIDATION]);
        await pullWhole(t, client, image, image.byDigest);
        t.deepEqual(await origin.takeRequests(), []);
      },
    );
  }

  run(`${name}: a pull by digest needs no tag, and a fresh tag no upstream`, async (t) => {
    const world = await startWorld(t, { tags: { ttl: '1h' } });
    const { origin, image } = world;
    const client = await start(world);

    await pullWhole(t, client, image, image.byDigest);
    t.deepEqual(await origin.takeRequests(), fetchesOf(image));
    await pullWhole(t, client, image, image.byTag);
    t.deepEqual(await origin.takeRequests(), [REVALIDATION]);
    await pullWhole(t, client, image, image.byTag);
    t.deepEqual(await origin.takeRequests(), []);
  });

  run(`${name}: what was pulled survives a restart and a kill of the mirror`, async (t) => {
    const world = await startWorld(t);
    const { origin, image, mirror, settings } = world;
    const client = await start(world);

    await pullWhole(t, client, image, image.byTag);
    await origin.takeRequests();
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      await mirror.restart(settings, signal);
      await pullWhole(t, client, image, image.byTag);
      t.deepEqual(await origin.takeRequests(), [REVALIDATION], signal);
      await pullWhole(t, client, image, image.byDigest);
      t.deepEqual(await origin.takeRequests(), [], signal);
    }
  });

  run(
    `${name}: what was pulled is served while the upstream hangs and when it is gone`,
    async (t) => {
      const world = await startWorld(t);
      const { origin, image, mirror, settings } = world;
      const client = await start(world);

      await pullWhole(t, client, image, image.byTag);
      origin.hang();
      await pullWhole(t, client, image, image.byTag);
      await pullWhole(t, client, image, image.byDigest);
      await origin.stop();
      await pullWhole(t, client, image, image.byTag);
      await pullWhole(t, client, image, image.byDigest);
      await mirror.restart(settings, 'SIGTERM');
      await pullWhole(t, client, image, image.byTag);
      await pullWhole(t, client, image, image.byDigest);
    },
  );
}

/** Pulls, compares the files with the original's, and removes all of it again. */
export async function pullWhole(
  t: ExecutionContext,
  client: Client,
  image: PublishedImage,
  name: ImageName,
): Promise<void> {
  const root = await client.pull(name);
  t.deepEqual(await describeFiles(root), image.files);
  await client.remove(name);
}

/** A tag is resolved by HEAD; every part is then fetched by its digest. */
function coldRequests(image: PublishedImage): string[] {
  return [REVALIDATION, ...fetchesOf(image)].toSorted();
}

function fetchesOf(image: PublishedImage): string[] {
  return image.parts.map((part) => `GET /v2/library/app/${part}`).toSorted();
}
