import { LRUCache } from 'lru-cache';
import type { Clock } from './clock.ts';

interface Entry<Value> {
  readonly value: Value;
  /** A moment of the steady clock. */
  readonly until: number;
}

/** Entries that each count for a time of their own; of more than `max` the least used are dropped. */
export class ExpiringMap<Key extends string, Value> {
  readonly #entries: LRUCache<Key, Entry<Value>>;
  readonly #clock: Clock;

  constructor({ max, clock }: { max: number; clock: Clock }) {
    this.#entries = new LRUCache({ max });
    this.#clock = clock;
  }

  get(key: Key): Value | undefined {
    const entry = this.#entries.get(key);
    return entry && entry.until > this.#clock.steady() ? entry.value : undefined;
  }

  has(key: Key): boolean {
    return this.get(key) !== undefined;
  }

  set(key: Key, value: Value, ttlMs: number): void {
    if (ttlMs > 0) this.#entries.set(key, { value, until: this.#clock.steady() + ttlMs });
  }
}
