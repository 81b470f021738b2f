import type { Pin } from '../../api/store-api.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';

/**
 * One line of the journal: what the files of blobs do not say themselves. `of` is a target,
 * `upstream/repository`; times are milliseconds since 1970. A later entry replaces an earlier one
 * about the same thing.
 */
export type JournalEntry =
  | { readonly manifest: Digest; readonly of: string; readonly type: string; readonly at: number }
  | { readonly tag: Tag; readonly of: string; readonly is: Digest; readonly at: number }
  /** The repository was seen to have this blob, which no manifest there lists. */
  | { readonly blob: Digest; readonly of: string }
  | { readonly gone: Digest; readonly of: string }
  | { readonly untagged: Tag; readonly of: string }
  | { readonly pin: Pin }
  | { readonly unpin: Pick<Pin, 'origin' | 'image'> };
