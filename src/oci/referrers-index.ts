import type { Descriptor } from './descriptor.ts';
import { OCI_INDEX } from './media-types.ts';

/**
 * The index in which referrers are listed, by the API and under the fallback tag: equal referrers
 * make equal bytes.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export function formatReferrersIndex(referrers: readonly Descriptor[]): Buffer {
  const manifests = referrers.map(describeReferrer);
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
}

/** The spec's fields of a referrer; no platform. */
function describeReferrer(descriptor: Descriptor): Omit<Descriptor, 'platform'> {
  const { mediaType, digest, size, artifactType, annotations } = descriptor;
  return {
    mediaType,
    digest,
    size,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  };
}
