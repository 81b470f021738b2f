import { createHash } from 'node:crypto';
import type { Digest } from '../../../src/oci/digest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import type { Inventory } from '../../../sync/bundle/inventory.ts';

export const SITE = '00000000-0000-4000-8000-000000000001';
export const SERIES = '00000000-0000-4000-8000-000000000002';
export const NOTHING_HELD: Inventory = {
  site: SITE,
  applied: new Map(),
  complete: new Set(),
  partial: new Map(),
  blobs: new Set(),
  images: [],
};

export function digestOf(text: string, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(text).digest('hex')}` as Digest;
}

/** As cosign and registries without the referrers API name what belongs to a digest. */
export function attachedTag(subject: string, suffix: string): Tag {
  return `${subject.replace(':', '-')}${suffix}` as Tag;
}
