import type { ImageStore } from './image-store.ts';

const READS = ['get', 'getMany', 'has', 'hasMany', 'keys', 'values', 'iterator'];

/** Every read of the database of a store from now on, or those by these methods. */
export function countReads({ catalog }: ImageStore, methods = READS): () => number {
  let reads = 0;
  const { tables } = catalog;
  for (const table of Object.values(tables) as object[]) {
    for (const name of methods) {
      const read = (table as Record<string, unknown>)[name];
      if (typeof read !== 'function' || !('sublevel' in table)) continue;
      Object.assign(table, {
        [name]: (...args: unknown[]): unknown => {
          reads += 1;
          return (read as (...given: unknown[]) => unknown).apply(table, args);
        },
      });
    }
  }
  return () => reads;
}
