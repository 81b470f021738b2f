import { digestOf, splitDigest, type Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import type { BlobHead } from '../upstream/upstream.ts';

const EMPTY = Buffer.alloc(0);

/**
 * The size of a blob that an upstream has, from its answer to a HEAD or else from a held manifest of
 * the repository: some middleboxes answer every HEAD without a length, or with one of 0.
 */
export async function sizeOf(
  catalog: Catalog,
  { target, digest }: { target: Target; digest: Digest },
  { size }: BlobHead,
): Promise<number | undefined> {
  if (size !== undefined && (size > 0 || isEmptyBlob(digest))) return size;
  for await (const holder of catalog.holdersIn(target, digest)) {
    const members = await catalog.members(holder);
    const member = members?.successors.find((each) => each.digest === digest);
    if (member) return member.size;
  }
  return undefined;
}

/** Whether it is the digest of no bytes at all. */
export function isEmptyBlob(digest: Digest): boolean {
  return digestOf(EMPTY, splitDigest(digest).algorithm) === digest;
}
