import test from 'ava';
import { buildImage, buildIndex, type Index } from '../helpers/image.ts';
import { REPOSITORY } from '../helpers/scene.ts';
import { startGuarded, type Guarded } from './guarded.ts';

const AMD64 = { os: 'linux', architecture: 'amd64' };
const REFUSED_MS = 30_000;

/** Held indexes that all list the image, each with another one beside it. */
async function holdIndexes({ registry, image, manifest }: Guarded, count: number) {
  const indexes: Index[] = [];
  for (let n = 0; n < count; n += 1) {
    const other = buildImage({ seed: `other ${n}`, layers: [10] });
    const index = buildIndex([
      { image, platform: AMD64 },
      { image: other, platform: { os: 'linux', architecture: 'arm64' } },
    ]);
    registry.addIndex(REPOSITORY, `many${n}`, index);
    await manifest(index.manifest.digest);
    indexes.push(index);
  }
  return indexes;
}

function asked({ registry }: Guarded, what: RegExp): number {
  return registry.conversation().filter((line) => what.test(line)).length;
}

test('for what is refused below many indexes the upstream is asked about a few of them, every thirty seconds', async (t) => {
  const scene = await startGuarded(t);
  const { registry, image, manifest, blob, clock, mirror } = scene;
  await holdIndexes(scene, 20);
  await mirror.idle();
  for (let round = 0; round < 2; round += 1) {
    clock.advance(REFUSED_MS);
    registry.clear();
    const child = async () => (await manifest(image.manifest.digest)).status;
    const answers = await Promise.all([child(), child(), child(), child()]);
    t.deepEqual([...answers, await child()], [403, 403, 403, 403, 403]);
    t.is((await blob(image.layer(0))).status, 403);
    t.is(asked(scene, /GET .*\/referrers\//), 8);
    t.is(asked(scene, /HEAD .*\.sig/), 8);
    // Each with its fallback tag, and what is not there by HEAD is asked for by GET.
    t.is(asked(scene, /referrers|sha256-/), 32);
  }
});

test('a signature that is held counts for what any index lists, however many there are', async (t) => {
  const scene = await startGuarded(t);
  const { registry, image, manifest, signer, clock } = scene;
  const indexes = await holdIndexes(scene, 20);
  for (const { manifest: index } of [...indexes.slice(0, 1), ...indexes.slice(-1)]) {
    clock.advance(REFUSED_MS);
    const carrier = signer.attach(registry, REPOSITORY, index);
    t.is((await manifest(index.digest)).status, 200);
    registry.clear();
    t.is((await manifest(image.manifest.digest)).status, 200);
    t.is(asked(scene, /referrers|sha256-/), 0);
    registry.remove(carrier.digest);
  }
});
