import type { RunningServer } from '../../src/server.ts';

/** By which pulls and lists begin; what goes on beside them asks for the others too. */
const BEGINNINGS = [
  'findTag',
  'findTagList',
  'findManifest',
  'findLink',
  'findBlob',
  'hasManifests',
  'listReferrers',
  'listRepositories',
  'listTags',
  'originOf',
] as const;

/** The questions of pulls to the catalog, from now on: the names of those that came. */
export function countReads({ catalog }: Pick<RunningServer, 'catalog'>): () => string[] {
  const asked: string[] = [];
  const methods = catalog as unknown as Record<string, (...given: unknown[]) => unknown>;
  for (const name of BEGINNINGS) {
    const original = methods[name]!;
    methods[name] = (...given) => {
      asked.push(name);
      return original.apply(catalog, given);
    };
  }
  return () => [...new Set(asked)].toSorted();
}
