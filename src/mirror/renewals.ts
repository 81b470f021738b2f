import { itemKey, type Tag, type Target } from '../oci/reference.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Demand } from '../upstream/demand.ts';

/** The wish of a client costs a question once in this time: a pull sends it with HEAD and GET, and again. */
const RENEWAL_MS = 10_000;
const MAX_TAGS = 10_000;

/**
 * Tags that somebody lately wished to know anew (`Cache-Control: no-cache`), whatever is known of them.
 * Within ten seconds the wish is not granted again, so that no client spends the quota of an upstream.
 */
export class Renewals {
  readonly #granted: ExpiringMap<string, true>;

  constructor(clock: Clock) {
    this.#granted = new ExpiringMap({ max: MAX_TAGS, clock });
  }

  /** The demand, without its wish where that is not granted. */
  grant(target: Target, tag: Tag, demand: Demand): Demand {
    if (!demand.isAnew) return demand;
    const key = itemKey(target, tag);
    if (this.#granted.has(key)) return { ...demand, isAnew: false };
    this.#granted.set(key, true, RENEWAL_MS);
    return demand;
  }
}
