import { LRUCache } from 'lru-cache';
import type { Clock } from './clock.ts';
import { RecentMap } from './recent-map.ts';

interface Entry<Value> {
  readonly value: Value;
  /** A moment of the steady clock. */
  readonly until: number;
}

export interface ExpiringMapParts {
  readonly max: number;
  /** Of all entries together; then each is set with its own. */
  readonly maxBytes?: number;
  readonly clock: Clock;
}

/**
 * Entries that each count for a time of their own; of more than `max`, or more than `maxBytes`, the least used
 * are dropped.
 */
export class ExpiringMap<Key extends string, Value> {
  readonly #entries: LRUCache<Key, Entry<Value>>;
  readonly #leastBytes: number;
  readonly #clock: Clock;

  constructor({ max, maxBytes, clock }: ExpiringMapParts) {
    this.#entries =
      maxBytes === undefined ? new RecentMap(max) : new LRUCache({ maxSize: maxBytes });
    // So large at least that no more than max of them fit.
    this.#leastBytes = Math.ceil((maxBytes ?? 0) / max);
    this.#clock = clock;
  }

  get(key: Key): Value | undefined {
    const entry = this.#entries.get(key);
    return entry && entry.until > this.#clock.steady() ? entry.value : undefined;
  }

  has(key: Key): boolean {
    return this.get(key) !== undefined;
  }

  set(key: Key, value: Value, ttlMs: number, bytes?: number): void {
    if (!(ttlMs > 0)) return;
    const entry = { value, until: this.#clock.steady() + ttlMs };
    const size = bytes === undefined ? {} : { size: Math.max(bytes, this.#leastBytes) };
    this.#entries.set(key, entry, size);
  }

  delete(key: Key): void {
    this.#entries.delete(key);
  }

  /** Those that count. */
  *values(): Generator<Value> {
    for (const { value, until } of this.#entries.values()) {
      if (until > this.#clock.steady()) yield value;
    }
  }
}
