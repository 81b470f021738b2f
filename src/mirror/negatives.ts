import { LRUCache } from 'lru-cache';

/** What upstreams lately said they do not have, each for its upstream's negative ttl. */
export class Negatives {
  readonly #until = new LRUCache<string, number>({ max: 10_000 });
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  has(key: string): boolean {
    const until = this.#until.get(key);
    return until !== undefined && until > this.#now();
  }

  add(key: string, ttlMs: number): void {
    if (ttlMs > 0) this.#until.set(key, this.#now() + ttlMs);
  }
}
