import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MAIN } from '../helpers/process.ts';
import { pulls } from './pull-claims.ts';
import type { Netns } from './netns.ts';
import type { PublishedImage } from './published-image.ts';
import type { Service } from './service.ts';
import { Containerd } from './containerd.ts';
import { Skopeo } from './skopeo.ts';
import { suite } from './suite.ts';
import { startWorld, type World } from './world.ts';

const run = suite('chains');
const runContainerd = suite('chains with containerd', 'containerd', 'ctr');

const PARENT_PORT = 8090;
const PARENT = `http://127.0.0.1:${PARENT_PORT}`;
const OTHER = 'http://127.0.0.1:9';

/** A second `entrepot serve`, which the one of the world asks. */
async function startParent(netns: Netns, upstreams: object): Promise<Service> {
  const path = join(netns.directory, 'parent.yaml');
  const settings = {
    listen: `127.0.0.1:${PARENT_PORT}`,
    admin: `127.0.0.1:${PARENT_PORT + 1}`,
    grace: '100ms',
    store: { path: join(netns.directory, 'parent-store') },
    defaultUpstream: 'default.test',
    // Whatever does not say which registry it means ends where nobody listens.
    upstreams: { 'default.test': { url: OTHER }, ...upstreams },
  };
  // JSON is YAML.
  await writeFile(path, JSON.stringify(settings));
  const service = await netns.start('parent', process.execPath, MAIN, 'serve', '--config', path);
  await netns.listening(service, PARENT_PORT);
  return service;
}

function pathOf({ byTag }: PublishedImage, part: string): string {
  return `/v2/${byTag.repository}/${part}`;
}

/** A pull of everything once, then of nothing but the tag. */
async function chain(world: World): Promise<Service> {
  const parent = await startParent(world.netns, world.settings.upstreams);
  const upstreams = { 'docker.io': { url: `${PARENT}/docker.io`, tags: { ttl: '0s' } } };
  await world.mirror.restart({ upstreams }, 'SIGTERM');
  return parent;
}

for (const types of ['oci', 'docker'] as const) {
  run(
    `skopeo behind two tiers: the same files, each part from the registry once (${types} types)`,
    async (t) => {
      const world = await startWorld(t);
      const parent = await chain(world);
      const { origin, netns, mirror } = world;
      const image = world.images[types];
      const pull = pulls(t, world, await Skopeo.create(netns, mirror.url));
      const revalidation = `HEAD ${pathOf(image, 'manifests/1')}`;

      await pull(image);
      const parts = image.parts.map((part) => `GET ${pathOf(image, part)}`);
      t.deepEqual(await origin.takeRequests(), [...parts, revalidation].toSorted());
      await pull(image);
      t.deepEqual(await origin.takeRequests(), [revalidation]);

      await origin.stop();
      await pull(image);
      await pull(image, image.byDigest);
      await parent.stop('SIGKILL');
      await pull(image);
    },
  );
}

runContainerd(
  'containerd behind two tiers: the same files, and again with everything above gone',
  async (t) => {
    const world = await startWorld(t);
    const parent = await chain(world);
    const { origin, netns, mirror } = world;
    const image = world.images.oci;
    const pull = pulls(t, world, await Containerd.start(netns, mirror.url));

    await pull(image);
    const parts = image.parts.map((part) => `GET ${pathOf(image, part)}`);
    const asked = await origin.takeRequests();
    t.deepEqual(
      asked.filter((line) => line.startsWith('GET')),
      parts.toSorted(),
    );
    await origin.stop();
    await parent.stop('SIGKILL');
    await pull(image);
  },
);
