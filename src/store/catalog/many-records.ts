/** Keys of one read, which holds a thread of the pool while others wait for theirs. */
const MAX_KEYS = 100;

/**
 * What `read` finds by each of the keys, in their order. It is given each key once, in byte order, so that no block
 * of the database is read twice, and a limited number at a time.
 */
export async function readMany<Value>(
  keys: readonly string[],
  read: (keys: string[]) => Promise<Value[]>,
): Promise<Value[]> {
  const sorted = [...new Set(keys)].toSorted();
  const found = new Map<string, Value>();
  for (let first = 0; first < sorted.length; first += MAX_KEYS) {
    const some = sorted.slice(first, first + MAX_KEYS);
    const values = await read(some);
    for (const [place, key] of some.entries()) found.set(key, values[place]!);
  }
  return keys.map((key) => found.get(key)!);
}
