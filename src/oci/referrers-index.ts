import type { Descriptor } from './descriptor.ts';
import { OCI_INDEX } from './media-types.ts';

/** The index that lists referrers, without them. */
export const REFERRERS_INDEX = { schemaVersion: 2, mediaType: OCI_INDEX } as const;

/**
 * The index that lists referrers, for the referrers API and for the fallback tag. The same
 * referrers give the same bytes.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export function formatReferrersIndex(referrers: readonly Descriptor[]): Buffer {
  const manifests = referrers.map(describeReferrer);
  return Buffer.from(JSON.stringify({ ...REFERRERS_INDEX, manifests }));
}

/** The fields that the spec lists; `platform` is none of them. */
export function describeReferrer(descriptor: Descriptor): Omit<Descriptor, 'platform'> {
  const { mediaType, digest, size, artifactType, annotations } = descriptor;
  return {
    mediaType,
    digest,
    size,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  };
}
