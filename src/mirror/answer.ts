/** How the cache came by an answer, in the words of the metrics. */
export type CacheResult =
  'hit' | 'miss' | 'joined' | 'stale' | 'revalidated' | 'negative' | 'bypass';

/** `value` is `undefined` when the upstream says that there is no such thing. */
export interface Answer<Value> {
  readonly value: Value | undefined;
  readonly source: CacheResult;
  /** Since the upstream last confirmed it; left out where nothing is known of that. */
  readonly ageMs?: number | undefined;
  /** Why an older copy stands in, here or at a mirror before, for the operator and the client's log. */
  readonly warning?: string;
}
