import type { Digest } from '../../oci/digest.ts';
import type { Manifest } from '../../oci/manifest.ts';
import type { ManifestEntry } from './catalog.ts';

/** What a manifest says of itself, as it enters the catalog. */
export function describeManifest(
  digest: Digest,
  size: number,
  manifest: Manifest,
): Omit<ManifestEntry, 'tags'> {
  const { mediaType, successors, subject, artifactType, annotations } = manifest;
  const descriptor = {
    mediaType,
    digest,
    size,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  };
  return { descriptor, successors, ...(subject && { subject }) };
}
