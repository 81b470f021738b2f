import type { Digest } from '../../../src/oci/digest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import { encodeInventory } from '../../../sync/bundle/inventory-file.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import type { Image, Index } from '../../helpers/image.ts';

export const SITE = 'b1d5a0f4-0000-4000-8000-000000000001';

export interface HeldImage {
  /** With its registry. */
  readonly name: string;
  readonly tag?: string;
  readonly image: Image | Index;
}

/** The inventory of a site that holds these images whole. */
export async function inventoryOf(
  held: readonly HeldImage[],
  applied: Readonly<Record<string, number>> = {},
): Promise<Buffer> {
  const images = held.map(({ name, tag, image }) => ({
    name,
    ...(tag !== undefined && { tag: tag as Tag }),
    digest: image.manifest.digest as Digest,
  }));
  return encodeInventory(
    {
      site: SITE,
      applied: new Map(Object.entries(applied)),
      complete: new Set(images.map(({ digest }) => digest)),
      partial: new Map(),
      blobs: new Set(),
      images,
    },
    SigningKey.generate(),
  );
}
