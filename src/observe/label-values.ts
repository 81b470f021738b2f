/** How the cache came by an answer. */
export const RESULTS = [
  'hit',
  'miss',
  'joined',
  'stale',
  'revalidated',
  'negative',
  'bypass',
] as const;
export type CacheResult = (typeof RESULTS)[number];

/**
 * Why an answer was a miss or a bypass. `cold`: it was not here; `evicted`: it was, since the start of
 * the process; `moved`: its tag means another manifest now; `damaged`: what was held is none;
 * `foreign`: the upstream had to show that it has what is held because of another; `absent`: there is
 * no such thing; `unstored`: the store does not take it.
 */
export const MISS_REASONS = [
  'cold',
  'evicted',
  'moved',
  'damaged',
  'foreign',
  'absent',
  'unstored',
] as const;
export type MissReason = (typeof MISS_REASONS)[number];

/** For whom an upstream is asked; `hydration` is also that of tags answered meanwhile. */
export const PURPOSES = ['client', 'hydration', 'sync', 'healing'] as const;
export type Purpose = (typeof PURPOSES)[number];

export const METHODS = ['GET', 'HEAD'] as const;
