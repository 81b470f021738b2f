import type { BundleManifest } from './bundle-manifest.ts';
import type { ContentEntry } from './content.ts';
import type { SigningKey } from './signing-key.ts';

export interface PartToWrite {
  readonly manifest: BundleManifest;
  /** `sealEnvelope(formatManifest(manifest), …)`, one for all parts. */
  readonly envelope: Buffer;
  /** From 1 on. */
  readonly part: number;
  readonly key: SigningKey;
  /** The bytes of an entry of the content, from `start` to `end`, exclusive. */
  readonly open: (entry: ContentEntry, range: ByteRange) => Promise<AsyncIterable<Uint8Array>>;
}

export interface ByteRange {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/**
 * The bytes of one part, in one pass: whoever takes them sets the pace (`pipeline(writePart(…), file)`).
 * Nothing is held but the chunk that is under way. Each byte of the content is hashed once, but of blobs whose
 * digest is not SHA-256; a size that is not right, or a whole entry that does not match its digest, ends
 * it with a `BundleError` with code `content`.
 */
export declare function writePart(part: PartToWrite): AsyncGenerator<Uint8Array>;
