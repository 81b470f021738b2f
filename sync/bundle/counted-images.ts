import type { BundledImage } from '../../src/api/bundle-api.ts';
import { isAttachedTag } from '../../src/oci/cosign.ts';

export interface CountedImages {
  /** By name and digest, however many tags they have. */
  readonly images: number;
  readonly tags: number;
  /** What is attached to images: signatures, attestations and the like. */
  readonly attached: number;
}

/** What is to be pulled, and what comes along because of it. */
export function countImages(all: readonly BundledImage[]): CountedImages {
  const { own = [], attached = [] } = Object.groupBy(all, (image) =>
    isAttached(image) ? 'attached' : 'own',
  );
  const count = (images: readonly BundledImage[]): number =>
    new Set(images.map(({ name, digest }) => `${name}@${digest}`)).size;
  const tags = own.filter(({ tag }) => tag !== undefined).length;
  return { images: count(own), tags, attached: count(attached) };
}

/** What a tag names that is none of a digest is an image, whatever the bundle says that it is attached to. */
export function isAttached({ subject, tag }: BundledImage): boolean {
  return subject !== undefined && (tag === undefined || isAttachedTag(tag));
}
