import type { Digest } from '../../oci/digest.ts';
import { formatTarget, splitTarget, type Target } from '../../oci/reference.ts';
import type { Node } from './catalog.ts';

/**
 * What is evicted as one, as text: `upstream/repository digest` for a manifest of a repository, and
 * the digest alone for a blob that no manifest lists.
 */
export function unitOf(target: Target, digest: Digest): string {
  return `${formatTarget(target)} ${digest}`;
}

/** The manifest that a unit is; `undefined` for a blob that no manifest lists. */
export function nodeOf(unit: string): Node | undefined {
  const space = unit.lastIndexOf(' ');
  if (space === -1) return undefined;
  return { target: splitTarget(unit.slice(0, space)), digest: unit.slice(space + 1) as Digest };
}
