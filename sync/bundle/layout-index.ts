import type { BundledImage } from '../../src/api/bundle-api.ts';
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../src/oci/media-types.ts';

/** Of Docker's manifests those of OCI that are read alike. */
const ALIKE: Readonly<Record<string, string>> = {
  [DOCKER_LIST]: OCI_INDEX,
  [DOCKER_MANIFEST]: OCI_MANIFEST,
};

/**
 * The `index.json` of a bundle: a descriptor for each image under its full name, with its tag or, where it has
 * none, its digest. By that name skopeo finds it in the layout and containerd keeps it. What is attached to an
 * image has no name there: whatever has one is unpacked by `ctr image import`, which fails for what is no image.
 */
export function formatLayoutIndex(images: readonly BundledImage[]): Buffer {
  const manifests = images.flatMap(withTypeAlike).map(describe);
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
  return Buffer.from(`${JSON.stringify(index)}\n`);
}

/**
 * skopeo 1.9, for one, sees only types of OCI in an index, so that an image of Docker's type has a second
 * descriptor there, of the one that is read alike.
 */
export function withTypeAlike<Descriptor extends { readonly mediaType: string }>(
  descriptor: Descriptor,
): Descriptor[] {
  const alike = ALIKE[descriptor.mediaType];
  return [descriptor, ...(alike === undefined ? [] : [{ ...descriptor, mediaType: alike }])];
}

function describe({ name, tag, digest, mediaType, size, subject }: BundledImage): object {
  const reference = tag === undefined ? `${name}@${digest}` : `${name}:${tag}`;
  const annotations =
    subject === undefined
      ? { 'io.containerd.image.name': reference, 'org.opencontainers.image.ref.name': reference }
      : { 'io.containerd.manifest.subject': subject };
  return { mediaType, digest, size, annotations };
}
