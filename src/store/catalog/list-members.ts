import type { Descriptor, Platform } from '../../oci/descriptor.ts';
import { isDigest, type Digest } from '../../oci/digest.ts';
import type { Member, Members } from './catalog.ts';

/** How BuildKit ties an attestation to a platform's manifest of the same index. */
const ATTESTED = 'vnd.docker.reference.digest';

/** What the catalog keeps of a manifest's content. */
export function listMembers(manifest: {
  readonly successors: readonly Descriptor[];
  readonly subject?: Digest;
}): Members {
  const { successors, subject } = manifest;
  return { successors: successors.map(describeMember), ...(subject && { subject }) };
}

function describeMember({ digest, size, mediaType, platform, annotations }: Descriptor): Member {
  const attests = annotations?.[ATTESTED];
  return {
    digest,
    size,
    mediaType,
    ...(platform && { platform: formatPlatform(platform) }),
    ...(isDigest(attests) && { attests }),
  };
}

function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}
