import { join } from 'node:path';
import { addManifest, partsOf, type LayoutFiles, type Descriptor } from './layout-files.ts';
import type { World } from './world.ts';

const PUT = join(import.meta.dirname, 'put.ts');
const INDEX = 'application/vnd.oci.image.index.v1+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';

/** What is about an image and no part of it: a manifest with one layer. */
export interface Attachment {
  /** By which its registry finds it. */
  readonly tag: string;
  readonly subject: string;
  readonly manifest: Descriptor;
  /** As `manifests/…` and `blobs/…`. */
  readonly parts: readonly string[];
  /** The bytes of its layer, and what they are called. */
  readonly content: string;
  readonly layer: Descriptor;
}

interface Document {
  readonly type: string;
  readonly content: string;
}

/**
 * Pushes a manifest with one layer that names its subject, an image of docker.io/library/app, and the list of the
 * subject's referrers, by the tag that stands in for the referrers API.
 */
export async function publishReferrer(
  { netns, images, origin }: World,
  layout: LayoutFiles,
  { mediaType, digest, size }: Descriptor,
  { type, content }: Document,
): Promise<Attachment> {
  const { repository } = images.oci.byTag;
  const layer = await layout.add(type, content);
  const config = await layout.add(EMPTY, '{}');
  const subject = { mediaType, digest, size };
  const fields = { artifactType: type, config, layers: [layer], subject };
  const manifest = await addManifest(layout, fields);
  const copy = ['copy', '--quiet', '--all', '--preserve-digests', '--dest-tls-verify=false'];
  const place = `docker://${new URL(origin.url).host}/${repository}@${manifest.digest}`;
  await netns.run('skopeo', ...copy, await layout.name(manifest, 'next'), place);
  const listed = { ...manifest, artifactType: type };
  const index = { schemaVersion: 2, mediaType: INDEX, manifests: [listed] };
  const list = await layout.add(INDEX, JSON.stringify(index));
  const tag = digest.replace(':', '-');
  // skopeo writes lists anew, and without the types of artifacts.
  const url = `${origin.url}/v2/${repository}/manifests/${tag}`;
  await netns.run(process.execPath, PUT, url, list.mediaType, layout.file(list.digest));
  return {
    tag,
    subject: digest,
    manifest,
    parts: partsOf(manifest, config, layer),
    content,
    layer,
  };
}
