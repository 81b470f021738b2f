import type { AdmissionConditionReport } from '../api/admission-api.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { Reach } from '../mirror/mirror.ts';
import type { ConditionName, Verdict } from './verdict.ts';

/** `held`: nobody is asked for what is not held here, no upstream and no scanner. */
export interface How {
  readonly reach?: Extract<Reach, 'held'>;
}

export type Examined = Pick<
  AdmissionConditionReport,
  'until' | 'signatures' | 'findings' | 'moreFindings'
>;

/** One of the things that a rule asks of an image. */
export interface Condition {
  readonly asks: ConditionName;
  /** Of a manifest that is no evidence. Evidence that is wrong refuses; a rejection says that nobody can know now. */
  judge(target: Target, digest: Digest, how: How): Promise<Verdict>;
  /** What it looks at to judge, all of it: for people. Left out where the verdict says everything. */
  examine?(target: Target, digest: Digest, how: How): Promise<Examined>;
}
