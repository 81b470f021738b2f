import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { Reach } from '../mirror/mirror.ts';
import type { ConditionName } from './verdict.ts';
import type { Verdict } from './verdicts.ts';

/** `held`: nobody is asked for what is not held here, no upstream and no scanner. */
export interface How {
  readonly reach?: Extract<Reach, 'held'>;
}

/** One of the things that a rule asks of an image. */
export interface Condition {
  readonly asks: ConditionName;
  /** Of a manifest that is no evidence. Evidence that is wrong refuses; a rejection says that nobody can know now. */
  judge(target: Target, digest: Digest, how: How): Promise<Verdict>;
}
