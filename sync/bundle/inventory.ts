import type { Digest } from '../../src/oci/digest.ts';
import type { Tag } from '../../src/oci/reference.ts';
import type { MemberMask } from './member-mask.ts';

/** What a site holds, as it tells those who send it bundles. */
export interface Inventory {
  /** The id of its store. */
  readonly site: string;
  /** By series of bundles, the number of the last one that is in force. */
  readonly applied: ReadonlyMap<string, number>;
  /**
   * Manifests that are held with all that they list, and all below that. One that is listed by another
   * is left out unless it is an image of its own.
   */
  readonly complete: ReadonlySet<Digest>;
  /** Manifests that are held with a part of what they list. */
  readonly partial: ReadonlyMap<Digest, MemberMask>;
  /** Blobs that no held manifest lists. */
  readonly blobs: ReadonlySet<Digest>;
  /** Sorted by name, tag and digest. */
  readonly images: readonly SiteImage[];
}

/** One of those manifests in a repository of the site, which serves all of it that is held. */
export interface SiteImage {
  /** Registry and repository. */
  readonly name: string;
  /** Absent where no tag of the repository means the manifest. */
  readonly tag?: Tag;
  readonly digest: Digest;
}
