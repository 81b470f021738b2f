import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { AdmissionFacts } from '../store/catalog/catalog.ts';
import { ageOf, type Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';

export interface FirstSightsParts {
  readonly facts: Pick<AdmissionFacts, 'firstSight' | 'recordSight'>;
  readonly clock: Clock;
}

/** Manifests whose first sight is still to come. */
const MAX_AHEAD = 10_000;

/**
 * How long a repository has been known to have a manifest. What was never seen is seen now. A first sight that
 * is still to come tells nothing, since the clock ran ahead then or stands back now: it is counted from when it
 * was first asked about since the start, by the clock that nobody sets.
 */
export class FirstSights {
  readonly #parts: FirstSightsParts;
  /** Moments of the steady clock. */
  readonly #ahead: ExpiringMap<string, number>;

  constructor(parts: FirstSightsParts) {
    this.#parts = parts;
    this.#ahead = new ExpiringMap({ max: MAX_AHEAD, clock: parts.clock });
  }

  /** Milliseconds. */
  async ageOf(target: Target, digest: Digest): Promise<number> {
    const { facts, clock } = this.#parts;
    const seenAt = await facts.firstSight(target, digest);
    if (seenAt !== undefined) {
      return ageOf(seenAt, clock) ?? this.#sinceAsked(`${formatTarget(target)} ${digest}`);
    }
    // What the disk does not take is new each time.
    await facts.recordSight(target, digest, clock.wall()).catch(() => undefined);
    return 0;
  }

  #sinceAsked(key: string): number {
    const now = this.#parts.clock.steady();
    const askedAt = this.#ahead.get(key) ?? now;
    this.#ahead.set(key, askedAt, Infinity);
    return now - askedAt;
  }
}
