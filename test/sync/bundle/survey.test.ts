import test, { type ExecutionContext } from 'ava';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import { buildImage, type Image } from '../../helpers/image.ts';
import { startMirror, type TestMirror } from '../../helpers/mirror.ts';
import type { ReadInventory } from '../../../sync/bundle/inventory-file.ts';
import { pull, readSite } from './read-site.ts';

const UPSTREAM = 'hub.example';
const NAME = `${UPSTREAM}/org/app`;

async function startSite(
  t: ExecutionContext,
): Promise<{ registry: FakeRegistry; mirror: TestMirror }> {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, { upstreams: { [UPSTREAM]: { url: registry.url } } });
  return { registry, mirror };
}

function pathsOf(image: Image, reference: string = image.manifest.digest): string[] {
  return [`manifests/${reference}`, ...image.blobs.map(({ digest }) => `blobs/${digest}`)];
}

/** What is told of holdings, with the bits of masks. */
function told({ complete, partial, blobs, images }: ReadInventory) {
  return {
    complete: [...complete].toSorted(),
    partial: [...partial].map(([digest, { bytes }]) => [digest, [...bytes!]]),
    blobs: [...blobs],
    images: images.map(({ name, tag, digest }) => `${name}:${tag ?? ''}@${digest}`),
  };
}

test('an image that is held is told with its digest alone, and its tags', async (t) => {
  const { registry, mirror } = await startSite(t);
  const image = buildImage({ seed: 'app', layers: [1000, 2000] });
  registry.addImage('org/app', 'v1', image);
  registry.tag('org/app', 'latest', image.manifest.digest);
  t.deepEqual(told(await readSite(t, mirror)), {
    complete: [],
    partial: [],
    blobs: [],
    images: [],
  });
  await pull(t, mirror, 'org/app', 'manifests/latest', ...pathsOf(image, 'v1'));
  const { digest } = image.manifest;
  const site = await readSite(t, mirror);
  t.deepEqual(told(site), {
    complete: [digest],
    partial: [],
    blobs: [],
    images: [`${NAME}:latest@${digest}`, `${NAME}:v1@${digest}`],
  });
  t.is(site.site, mirror.server.store.id!);
});
