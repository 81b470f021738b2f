import type { LayoutReport } from '../../src/api/layout-api.ts';
import { formatPlatform, type Platform } from '../../src/oci/descriptor.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../../src/oci/manifest.ts';
import { isForeignType, isManifestType } from '../../src/oci/media-types.ts';

/** Blobs that are there, among which an image is looked for. */
export interface LayoutSource {
  readonly sizes: ReadonlyMap<string, number>;
  readonly open: (digest: Digest) => Promise<AsyncIterable<Uint8Array>>;
}

interface LayoutFiles {
  /** What a manifest lists comes before it. */
  readonly digests: ReadonlySet<Digest>;
  readonly bytes: number;
  /** What an index lists and is not there. */
  readonly leftOut: LayoutReport['leftOut'];
}

/** What an image is made of, from its manifest down. One manifest is in memory on each floor. */
export async function findLayoutFiles(
  root: { readonly digest: Digest; readonly mediaType: string },
  { sizes, open }: LayoutSource,
): Promise<LayoutFiles> {
  const digests = new Set<Digest>();
  const leftOut = new Map<Digest, LayoutReport['leftOut'][number]>();
  const visit = async ({ digest, mediaType }: typeof root): Promise<void> => {
    if (digests.has(digest)) return;
    const { successors } = parseManifest(await read(digest), mediaType);
    for (const each of successors) {
      const { platform } = each;
      const isHere = sizes.has(each.digest);
      if (isHere && isManifestType(each.mediaType)) await visit(each);
      else if (isHere) digests.add(each.digest);
      else if (!isForeignType(each.mediaType))
        leftOut.set(each.digest, tell(each.digest, platform));
    }
    digests.add(digest);
  };
  const read = async (digest: Digest): Promise<Buffer> => {
    const size = sizes.get(digest) ?? 0;
    if (size > MAX_MANIFEST_BYTES) throw new Error(`${digest} has ${size} bytes and is a manifest`);
    return Buffer.concat(await Array.fromAsync(await open(digest)));
  };
  await visit(root);
  const bytes = [...digests].reduce((sum, digest) => sum + (sizes.get(digest) ?? 0), 0);
  return { digests, bytes, leftOut: [...leftOut.values()] };
}

function tell(digest: Digest, platform: Platform | undefined): LayoutReport['leftOut'][number] {
  return { digest, ...(platform && { platform: formatPlatform(platform) }) };
}
