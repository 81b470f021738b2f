import type { Clock } from '../time/clock.ts';
import { createExpiringMap } from '../time/expiring-map.ts';

/** What upstreams lately said they do not have, each for its upstream's negative ttl. */
export class Negatives {
  readonly #absent;

  constructor(clock: Clock) {
    this.#absent = createExpiringMap<string, boolean>(10_000, clock);
  }

  has(key: string): boolean {
    return this.#absent.has(key);
  }

  add(key: string, ttlMs: number): void {
    if (ttlMs > 0) this.#absent.set(key, true, { ttl: ttlMs });
  }
}
