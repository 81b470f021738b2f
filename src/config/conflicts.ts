import { ConfigError } from './config-error.ts';
import { parseListenAddress } from './listen-address.ts';
import { parseRegistryName } from './registry-name.ts';
import { canonicalRegistryName, WELL_KNOWN_REGISTRIES } from './registries.ts';

/**
 * What is wrong between keys that are right one by one. Works on the file as it stands, so that it
 * is told together with the problems of single keys; what has the wrong type is left to those.
 */
export function findConflicts(document: unknown): string[] {
  const root = isMap(document) ? document : {};
  return [
    ...listenConflicts(root),
    ...nameProblems(root),
    ...defaultUpstreamProblems(root),
    ...hostConflicts(root),
  ];
}
