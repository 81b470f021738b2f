import type { Attachments } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';

/** The manifest, and indexes that it is looked for in, above one another too. */
const MAX_SUBJECTS = 65;

/**
 * The manifest, then the held indexes above it: what is true of an index counts for all that it lists. An index
 * is looked for only when it is asked for.
 */
export async function* lineageOf(
  attachments: Attachments,
  target: Target,
  digest: Digest,
  most = MAX_SUBJECTS,
): AsyncGenerator<Digest> {
  const found = new Set([digest]);
  for (const each of found) {
    yield each;
    for await (const index of attachments.holders(target, each, { asManifest: true })) {
      if (found.size >= most) break;
      found.add(index);
    }
  }
}
