import type { Digest } from '../../src/oci/digest.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';
import type { BlobStore } from '../../src/store/files/blob-store.ts';

/** Removes what came by digest and is needed no more, unless an image has it too. */
export async function discardBlob(
  { catalog, blobs }: { catalog: Catalog; blobs: BlobStore },
  digest: Digest,
): Promise<void> {
  for await (const _ of catalog.holders(digest)) return;
  await catalog.forgetBlob(digest);
  await blobs.delete(digest, async () => catalog.hasBlob(digest));
}
