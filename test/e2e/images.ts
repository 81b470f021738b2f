import { join } from 'node:path';
import test from 'ava';
import { ImageLayout } from './image-layout.ts';
import { Netns } from './netns.ts';
import { describeImage } from './published-image.ts';
import type { PublishedImage } from './published-image.ts';
import { Registry } from './registry.ts';

export const OTHER_REGISTRY = 'registry.test:5000';

export interface Images {
  /** What the registry called docker.io serves from. */
  readonly data: string;
  /** What the registry called OTHER_REGISTRY serves from. */
  readonly otherData: string;
  /** docker.io/library/app: an index and manifests of OCI types. */
  readonly oci: PublishedImage;
  /** docker.io/library/legacy: the same files under Docker's types. */
  readonly docker: PublishedImage;
  /** OTHER_REGISTRY/library/app: the name of the first one, other files. */
  readonly other: PublishedImage;
}

let workshop: Promise<Netns> | undefined;
let images: Promise<Images> | undefined;

/** Built and pushed once for all tests of a file. */
export async function publishedImages(): Promise<Images> {
  workshop ??= Netns.create();
  images ??= publish(await workshop);
  return images;
}

test.after.always('the images are removed', async () => {
  await (await workshop)?.close();
});

async function publish(netns: Netns): Promise<Images> {
  const data = join(netns.directory, 'registry');
  const registry = await Registry.start(netns, { name: 'registry', port: 5000, data });
  const layout = await ImageLayout.build(netns, 'image');
  await registry.push(layout.reference, 'library/app', 'oci');
  await registry.push(layout.reference, 'library/legacy', 'v2s2');
  const held = { registry, name: 'docker.io', files: await layout.files() };

  const otherData = join(netns.directory, 'other-registry');
  const other = await Registry.start(netns, { name: 'other', port: 5001, data: otherData });
  const otherLayout = await ImageLayout.build(netns, 'other-image');
  await other.push(otherLayout.reference, 'library/app', 'oci');
  const files = await otherLayout.files();
  return {
    data,
    otherData,
    oci: await describeImage({ ...held, repository: 'library/app' }),
    docker: await describeImage({ ...held, repository: 'library/legacy' }),
    other: await describeImage({
      registry: other,
      name: OTHER_REGISTRY,
      repository: 'library/app',
      files,
    }),
  };
}
