import type { Digest } from './digest.ts';

/** Byte positions, `end` exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** What a stored blob and a running download have in common: bytes that can be read by position. */
export interface Content {
  readonly digest: Digest;
  /** Bytes; `undefined` while an upstream that does not say is still sending. */
  readonly size: number | undefined;
  /** Without a range, from the first byte to the last. The caller closes the reader. */
  open(range?: ByteRange): Promise<Reader>;
}

/** A position that moves forward through a {@link Content}. */
export interface Reader {
  /**
   * The next bytes, waiting when there are none yet; an empty buffer only at the end. They are in
   * `scratch`, or in memory that others read too and nobody writes to. Rejects when the content
   * turns out damaged or cannot be had: then what was read so far must not be completed.
   */
  read(scratch: Buffer): Promise<Buffer>;
  close(): Promise<void>;
}

/** Reads the rest into memory, for contents known to be small. */
export async function readAll(reader: Reader, size: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(size);
  let filled = 0;
  // Also of nothing: the reader may know that there should be more.
  do {
    const next = await reader.read(bytes.subarray(filled));
    if (next.length === 0) break;
    next.copy(bytes, filled);
    filled += next.length;
  } while (filled < size);
  return bytes.subarray(0, filled);
}
