import type { BundledImage } from '../../src/api/bundle-api.ts';
import { OCI_INDEX } from '../../src/oci/media-types.ts';

/**
 * The `index.json` of a bundle: a descriptor for each image under its full name, with its tag or, where it has
 * none, its digest. By that name skopeo finds it in the layout and containerd keeps it.
 */
export function formatLayoutIndex(images: readonly BundledImage[]): Buffer {
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: images.map(describe) };
  return Buffer.from(`${JSON.stringify(index)}\n`);
}

function describe({ name, tag, digest, mediaType, size, subject }: BundledImage): object {
  const reference = tag === undefined ? `${name}@${digest}` : `${name}:${tag}`;
  return {
    mediaType,
    digest,
    size,
    annotations: {
      'io.containerd.image.name': reference,
      ...(subject !== undefined && { 'io.containerd.manifest.subject': subject }),
      'org.opencontainers.image.ref.name': reference,
    },
  };
}
