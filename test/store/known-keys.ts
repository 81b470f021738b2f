import type { Tables } from '../../src/store/catalog/tables.ts';

const OF_WHAT_LEFT = /^!(?:sights!|exits!|meta!exits$)/;

/** All that a catalog keeps, but for when it first saw what left. */
export async function knownKeys({ db }: Tables): Promise<string[]> {
  const keys = await db.keys().all();
  return keys.filter((key) => !OF_WHAT_LEFT.test(key));
}
