import type { Digest } from '../../src/oci/digest.ts';
import type { BundleManifest } from './bundle-manifest.ts';
import type { Slice } from './content.ts';
import type { TrustedKey } from './trusted-key.ts';

/** What stands at the head of a part. */
export interface PartHead {
  /** The digest of the signed manifest. */
  readonly id: Digest;
  readonly manifest: BundleManifest;
  /** From 1 on; `PARITY_PART` for the parity part. */
  readonly part: number;
  /** Of the key that signed it; where `keys` is `any`, as it says, and nobody has verified it. */
  readonly keyId: string;
}

export interface PartVisitor {
  /** Whose bundles are read; `any` reads those of everybody, and believes nothing. */
  readonly keys: readonly TrustedKey[] | 'any';
  /** Called once, before any content is read: what it throws ends the reading. */
  admit(head: PartHead): Promise<void> | void;
  /**
   * Called for each slice in turn. `bytes` ends only once a whole entry is proven to match its digest (a
   * `BundleError` otherwise); of a piece only the trailer tells, at the end of the part. What is left
   * unread is read and verified after.
   */
  take?(slice: Slice, bytes: AsyncIterable<Buffer>): Promise<void>;
}

/**
 * Reads and verifies one part in one pass, from a pipe as from a file. What it resolves to is proven: the
 * signed manifest, each path, size and digest, the signed trailer, and nothing behind it. Throws a
 * `BundleError` for all else, what `visitor` throws, and what `source` throws. It holds the manifest and
 * the chunk that is under way.
 */
export declare function readPart(
  source: AsyncIterable<Uint8Array>,
  visitor: PartVisitor,
): Promise<PartHead>;
