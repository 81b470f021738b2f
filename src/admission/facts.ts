import type { Digest } from '../oci/digest.ts';
import type { Tag, Target } from '../oci/reference.ts';

/** What is kept of manifests over a restart, as the catalog promises it. Times are milliseconds since 1970. */
export interface Facts {
  firstSight(target: Target, digest: Digest): Promise<number | undefined>;
  recordSight(target: Target, digest: Digest, at: number): Promise<void>;
  findAdmitted(target: Target, tag: Tag): Promise<Digest | undefined>;
  recordAdmitted(target: Target, tag: Tag, digest: Digest): Promise<void>;
  admittedAs(target: Target, digest: Digest): Promise<readonly Tag[]>;
  findFinding(target: Target, digest: Digest, name: string): Promise<object | undefined>;
  recordFinding(
    target: Target,
    digest: Digest,
    entry: { readonly name: string; readonly finding: Readonly<Record<string, unknown>> },
  ): Promise<void>;
}
