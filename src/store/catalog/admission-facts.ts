import type { Digest } from '../../oci/digest.ts';
import type { Tag, Target } from '../../oci/reference.ts';

/** What was found out about a manifest, as JSON has it. */
export type Finding = Readonly<Record<string, unknown>>;

/** Facts of manifests for who judges them. Times are milliseconds since 1970. */
export interface AdmissionFacts {
  /**
   * When this repository was first seen to have the manifest. Known as long as it is held, and then until 50,000
   * others have left: what is evicted and comes again is not new. A lost catalog takes with it what it knows of
   * those that are not held.
   */
  firstSight(target: Target, digest: Digest): Promise<number | undefined>;
  /** Of one that is not held. What is known stays. */
  recordSight(target: Target, digest: Digest, at: number): Promise<void>;

  /** What was last admitted while the tag meant it; nothing once that is evicted. */
  findAdmitted(target: Target, tag: Tag): Promise<Digest | undefined>;
  /** Nothing is recorded of a manifest that is not held. */
  recordAdmitted(target: Target, tag: Tag, digest: Digest): Promise<void>;
  /** The tags of which this is what was last admitted. */
  admittedAs(target: Target, digest: Digest): Promise<Tag[]>;

  /** As last recorded under this name, which has no space. */
  findFinding(target: Target, digest: Digest, name: string): Promise<Finding | undefined>;
  /**
   * Kept until the manifest is evicted: eight of a manifest, those recorded last, of 64 KiB at most each. Of a
   * longer one, or of a manifest that is not held, nothing is recorded, and what had that name is gone.
   */
  recordFinding(
    target: Target,
    digest: Digest,
    entry: { readonly name: string; readonly finding: Finding },
  ): Promise<void>;
}
