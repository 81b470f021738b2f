import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { JournalEntry } from '../journal/journal-entry.ts';
import type { Step } from '../step.ts';

/**
 * `proven`: the upstream served this digest from this repository. `claimed`: a manifest of the
 * repository lists it, which is not yet proof that the repository may read it.
 */
export type Link = 'proven' | 'claimed';

/** How much is held. */
export interface Usage {
  readonly blobs: number;
  readonly bytes: number;
}

/** A manifest as it enters the catalog. */
export interface ManifestEntry {
  readonly descriptor: Descriptor;
  readonly successors: readonly Descriptor[];
  readonly subject?: Digest;
  /** Tags that upstream says mean this manifest, and when it said so. */
  readonly tags: readonly { readonly tag: Tag; readonly checkedAt: number }[];
  /** False: no client has asked for it. Its last pull is then a moment before it was stored. */
  readonly isPulled?: boolean;
}

export interface CatalogOptions {
  readonly durability: 'full' | 'rename';
  /** Told of every fact that the files of blobs do not tell, once it is written. */
  readonly journal?: (entries: readonly JournalEntry[]) => void;
  /** Told when the database cannot be read. */
  readonly unreadable?: (error: unknown) => void;
  readonly step?: Step;
  /** Gives the bytes of held manifests to the migration of an older schema. */
  readonly readBytes?: (digest: Digest) => Promise<Buffer | undefined>;
}
