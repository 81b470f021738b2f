import type { Digest } from '../src/oci/digest.ts';
import type { Target } from '../src/oci/reference.ts';
import { TEXTS } from './texts.ts';
import type { SyncParts } from './parts.ts';

interface Judged {
  readonly target: Target;
  readonly digest: Digest;
  /** What it is made of, in any order. */
  readonly files: Iterable<Digest>;
}

/**
 * Why an image may not be pulled: the reason of the first of its manifests that may not; nothing where all may.
 */
export async function findRefusal(
  { catalog, refusal, isJudged }: Pick<SyncParts, 'catalog' | 'refusal' | 'isJudged'>,
  { target, digest, files }: Judged,
): Promise<string | undefined> {
  if (!isJudged(target)) return undefined;
  const own = await refusal(target, digest);
  if (own !== undefined) return own;
  for (const each of await catalog.heldOf(target, [...files])) {
    const reason = each === digest ? undefined : await refusal(target, each);
    if (reason !== undefined) return TEXTS.partRefused({ digest: each, reason });
  }
  return undefined;
}
