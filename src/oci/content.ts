import type { Digest } from './digest.ts';

/** Byte positions, `end` exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Bytes that can be read by position: of a stored blob or of a running download. */
export interface Content {
  readonly digest: Digest;
  /** Bytes; `undefined` while a download runs whose upstream did not tell its size. */
  readonly size: number | undefined;
  /** Its bytes are known to be the digest's; else whoever passes them on says that they may be wrong. */
  readonly isVerified: boolean;
  /** Without a range, from the first byte to the last. The caller closes the reader. */
  open(range?: ByteRange): Promise<Reader>;
}

/** A position that moves forward through a {@link Content}. */
export interface Reader {
  /**
   * Resolves when `read` has something to give, or to say, without a long wait: until then it needs no
   * memory. Left out where bytes are always there. Never rejects.
   */
  ready?(): Promise<void>;
  /**
   * Resolves with the next bytes, and with an empty buffer only at the end. The buffer is `scratch`
   * or shared memory, which the caller must not write to. Rejects when the content is damaged or
   * cannot be fetched: then the caller must not complete the answer that it was sending.
   */
  read(scratch: Buffer): Promise<Buffer>;
  close(): Promise<void>;
}

/** Reads at most `size` bytes into memory. */
export async function readAll(reader: Reader, size: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(size);
  let filled = 0;
  // At least once, also for size 0: a reader rejects here when the content is damaged.
  do {
    const next = await reader.read(bytes.subarray(filled));
    if (next.length === 0) break;
    next.copy(bytes, filled);
    filled += next.length;
  } while (filled < size);
  return bytes.subarray(0, filled);
}
