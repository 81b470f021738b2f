import type { Digest } from '../../oci/digest.ts';
import type { Tag, Target } from '../../oci/reference.ts';

/** What a tag was last known to mean, and when the upstream said so (milliseconds since 1970). */
export interface TagRecord {
  readonly digest: Digest;
  readonly checkedAt: number;
  /** When the upstream said that it has the tag no more; until then it meant the digest. */
  readonly goneAt?: number;
}

export interface ManifestRecord {
  readonly mediaType: string;
  readonly size: number;
  readonly storedAt: number;
  /** When the repository was first seen to have it, where that is not when it was stored. */
  readonly seenAt?: number;
  /** What stands for its last pull until a client asks for it. */
  readonly unpulledAt?: number;
}

/**
 * What of the catalog is in memory, as it is now: for what is asked thousands of times a second. `undefined`
 * says nothing; the catalog itself may know more.
 */
export interface RecentRecords {
  /** As `findTag` of the catalog. */
  tag(target: Target, tag: Tag): TagRecord | undefined;
  /** As `findManifest` of the catalog. */
  manifest(target: Target, digest: Digest): ManifestRecord | undefined;
}
