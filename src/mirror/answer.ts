import type { CacheResult, MissReason } from '../observe/label-values.ts';

export type { CacheResult, MissReason };

/** `value` is `undefined` when the upstream says that there is no such thing. */
export interface Answer<Value> {
  readonly value: Value | undefined;
  readonly source: CacheResult;
  /** Of a miss or a bypass, where it is another one than `cold`, `absent` and `unstored`. */
  readonly reason?: MissReason | undefined;
  /** Since the upstream last confirmed it; left out where nothing is known of that. */
  readonly ageMs?: number | undefined;
  /** Why an older copy stands in, here or at a mirror before, for the operator and the client's log. */
  readonly warning?: string;
}
