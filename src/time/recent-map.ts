import { LRUCache } from 'lru-cache';

type Options<Key extends {}, Value extends {}> = Pick<
  LRUCache.OptionsBase<Key, Value, unknown>,
  'dispose'
>;

/**
 * The `max` lately used entries. It takes memory for those that are in it: of a cache that is told its `max`,
 * `lru-cache` sets aside the room of all of them ahead.
 */
export class RecentMap<Key extends {}, Value extends {}> extends LRUCache<Key, Value> {
  constructor(max: number, options: Options<Key, Value> = {}) {
    super({ ...options, maxSize: max, sizeCalculation: () => 1 });
  }
}
