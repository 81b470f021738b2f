import type { Digest } from '../../src/oci/digest.ts';
import type { Target } from '../../src/oci/reference.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';

/**
 * What a bundle or a layout brought is the upstream's whose image was the first to need it: once that is
 * evicted, no repository of another one may read what is left. It is on the disk once the image is recorded.
 */
export async function recordOwner(
  catalog: Catalog,
  { upstream }: Pick<Target, 'upstream'>,
  digests: readonly Digest[],
): Promise<void> {
  for (const digest of digests) {
    const record = await catalog.findBlob(digest);
    const isBrought = (record?.bundle ?? record?.layout) !== undefined;
    if (isBrought && record?.upstream === undefined) await catalog.updateBlob(digest, { upstream });
  }
}
