import { LRUCache } from 'lru-cache';
import type { Clock } from './clock.ts';

/** At most `max` entries, the least used of which go first; each is set with a `ttl`, milliseconds. */
export function createExpiringMap<Key extends object | string, Value extends object | boolean>(
  max: number,
  clock: Clock,
): LRUCache<Key, Value> {
  return new LRUCache({ max, ttlResolution: 0, perf: { now: () => clock.steady() } });
}
