import { formatPlatform, type Descriptor } from '../../oci/descriptor.ts';
import { isDigest } from '../../oci/digest.ts';
import type { Target } from '../../oci/reference.ts';
import { unitOf, type ManifestEntry, type Member, type Members } from './catalog.ts';
import type { Batch, Tables } from './tables.ts';

/** How BuildKit ties an attestation to a platform's manifest of the same index. */
const ATTESTED = 'vnd.docker.reference.digest';

/** Adds to a batch what a manifest of the repository lists, and its place among its subject's referrers. */
export function putMembers(
  batch: Batch,
  tables: Tables,
  { target, entry }: { readonly target: Target; readonly entry: ManifestEntry },
): void {
  const { subject, successors, descriptor } = entry;
  const { digest } = descriptor;
  const unit = unitOf(target, digest);
  batch.put(digest, listMembers(entry), { sublevel: tables.members });
  for (const held of [digest, ...successors.map((successor) => successor.digest)]) {
    batch.put(`${held} ${unit}`, 1, { sublevel: tables.holders });
  }
  if (!subject) return;
  batch.put(`${unitOf(target, subject)} ${digest}`, descriptor, { sublevel: tables.referrers });
}

/** What the catalog keeps of a manifest's content. */
function listMembers({ successors, subject }: ManifestEntry): Members {
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
