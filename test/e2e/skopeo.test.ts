import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PublishedImage } from './published-image.ts';
import { claimRegistries } from './registry-claims.ts';
import { startWorld } from './world.ts';
import { claimPulls } from './pull-claims.ts';
import { Skopeo } from './skopeo.ts';
import { suite } from './suite.ts';
import type { World } from './world.ts';

const run = suite('skopeo');

claimPulls(run, { name: 'skopeo', start: startSkopeo });

async function startSkopeo({ netns, mirror }: World): Promise<Skopeo> {
  return Skopeo.create(netns, mirror.url);
}

claimRegistries(run, { name: 'skopeo', start: startSkopeo });

run(
  'skopeo: every platform comes byte for byte, and again when the upstream is gone',
  async (t) => {
    const world = await startWorld(t);
    const { oci, docker } = world.images;
    const skopeo = await startSkopeo(world);

    for (const image of [oci, docker]) {
      t.deepEqual(await digestsIn(await skopeo.pullAll(image.byTag)), digestsOf(image));
    }
    await world.origin.stop();
    for (const image of [oci, docker]) {
      t.deepEqual(await digestsIn(await skopeo.pullAll(image.byTag)), digestsOf(image));
      t.deepEqual(await digestsIn(await skopeo.pullAll(image.byDigest)), digestsOf(image));
    }
  },
);

function digestsOf({ allParts }: PublishedImage): string[] {
  return allParts.map((part) => part.slice(part.indexOf('sha256:'))).toSorted();
}

/** Computed from the bytes, whatever the files are called. */
async function digestsIn(directory: string): Promise<string[]> {
  const names = (await readdir(directory)).filter((name) => name !== 'version');
  const digests = names.map(async (name) => {
    const bytes = await readFile(join(directory, name));
    return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  });
  return (await Promise.all(digests)).toSorted();
}
