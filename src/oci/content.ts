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
  /**
   * Has several ranges fetched for a client that reads one after the other, until the result is disposed of;
   * `undefined` where each has to be read from an upstream by itself. Left out where all of it is here.
   */
  want?(ranges: readonly ByteRange[]): Disposable | undefined;
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
   * Reads the next bytes where they are in memory that others read too: many readers of one transfer
   * would each take a buffer for nothing. `undefined` is no end: `read` goes on.
   */
  shared?(): Buffer | undefined;
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

/** 15 digits are exact as a number and more bytes than any content has. */
const LENGTH = /^\d{1,15}$/;
const CONTENT_RANGE = /^bytes +(\d+)-(\d+)\/(\d+|\*)$/i;

/** A count of bytes or a position as headers write it; `undefined` for anything else. */
export function parseLength(text: string | undefined): number | undefined {
  return text !== undefined && LENGTH.test(text) ? Number(text) : undefined;
}

/** What a `Content-Range` says: byte positions, `end` exclusive, and the whole when it is told. */
interface ContentRange {
  readonly start: number;
  readonly end: number;
  readonly size?: number;
}

/** `undefined` for what is no range of bytes, or none that can be: empty, or past the whole. */
export function parseContentRange(header: string | undefined): ContentRange | undefined {
  const [, first, last, whole] = CONTENT_RANGE.exec(header ?? '') ?? [];
  const [start, end] = [parseLength(first), parseLength(last)];
  if (start === undefined || end === undefined || end < start) return undefined;
  if (whole === '*') return { start, end: end + 1 };
  const size = parseLength(whole);
  return size === undefined || end >= size ? undefined : { start, end: end + 1, size };
}
