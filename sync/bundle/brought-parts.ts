import type { Digest } from '../../src/oci/digest.ts';
import { isManifestType } from '../../src/oci/media-types.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';
import type { WantedParts } from '../wanted-image.ts';

/**
 * Which parts of an image a bundle is about, from those of its manifests that are there: an index may come
 * with some of its platforms, and without attestations.
 */
export async function findBroughtParts(
  catalog: Catalog,
  root: Digest,
  isThere: (manifest: Digest) => boolean,
): Promise<WantedParts> {
  const platforms = new Set<string>();
  let [isWhole, referrers] = [true, true];
  const visit = async (digest: Digest): Promise<void> => {
    const successors = (await catalog.members(digest))?.successors ?? [];
    for (const child of successors.filter(({ mediaType }) => isManifestType(mediaType))) {
      const { platform, attests } = child;
      if (isThere(child.digest)) {
        if (platform !== undefined && attests === undefined) platforms.add(platform);
        await visit(child.digest);
      } else if (attests === undefined) isWhole = false;
      else if (isThere(attests)) referrers = false;
    }
  };
  await visit(root);
  return { platforms: isWhole ? 'all' : [...platforms].toSorted(), referrers };
}
