import { digestOf, type Digest } from '../oci/digest.ts';
import { formatReferrersIndex } from '../oci/descriptor.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../oci/manifest.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import type { Target } from '../oci/reference.ts';
import type { Demand } from '../upstream/demand.ts';
import type { Answer } from './answer.ts';
import type { HeldManifest, HeldManifests } from './held-manifests.ts';
import type { Listings } from './listings.ts';

interface Parts {
  readonly listings: Listings;
  readonly heldManifests: HeldManifests;
}

/**
 * The tag that clients read which do not know the referrers API, made from the list of referrers
 * where the registry has no such tag. The made index is kept like a pulled one, so that it can be
 * fetched by its digest too. Without a value when the subject has no referrers.
 */
export async function makeFallbackTag(
  { listings, heldManifests }: Parts,
  { target, subject, demand }: { target: Target; subject: Digest; demand: Demand },
): Promise<Answer<HeldManifest>> {
  const listed = await listings.referrers(target, subject, demand);
  if (!listed.value || listed.value.length === 0) return { value: undefined, source: 'miss' };
  const bytes = formatReferrersIndex(listed.value);
  // No client would take it for a manifest.
  if (bytes.length > MAX_MANIFEST_BYTES) return { value: undefined, source: 'miss' };
  const body = { digest: digestOf(bytes), bytes, manifest: parseManifest(bytes, OCI_INDEX) };
  const { held } = await heldManifests.put(target, body, { tags: [] });
  return { ...listed, value: held };
}
