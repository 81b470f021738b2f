import type { ByteRange, Reader } from '../../oci/content.ts';
import type { Digest } from '../../oci/digest.ts';

/*
 *   starting ──▶ streaming ──▶ finished        the bytes are verified; clients may complete
 *      │             ├───────▶ failed          damaged, or not to be had: clients are cut short
 *      │             └───────▶ unstored        no room, or the disk failed: passed on, not kept
 *      └──▶ absent | failed | unstored
 *
 * The state only moves right, along one of the arrows.
 */
export type DownloadState =
  'starting' | 'streaming' | 'finished' | 'absent' | 'failed' | 'unstored';

/** Who goes on by itself. */
export interface OwnRequest {
  /** The answer is the whole blob: what goes out unverified must not complete it. */
  readonly isWhole: boolean;
  readonly client: string | undefined;
}

/** What a reader sees of the download that it follows. */
export interface Growing {
  readonly digest: Digest;
  readonly state: DownloadState;
  /** Why it is `failed` or `unstored`. */
  readonly failure: unknown;
  /** Readers may go up to here: the last byte stays back until all bytes are verified. */
  readonly readable: number;
  /** How long a range far ahead waits before it is asked for beside the download. */
  readonly rangeMs: number;
  /** Settles with the next byte or the next state. */
  growth(): Promise<void>;
  /** The bytes from this position on, as far as they are still in memory. */
  findRecent(position: number): Buffer | undefined;
  /**
   * For what the file does not give: what is passed on without being kept, else a request of its
   * own, verified where the answer is the whole blob.
   */
  openDirect(range: ByteRange, request: OwnRequest): Promise<Reader>;
  /**
   * An unverified reader of a range far ahead, without the blob's last byte; `undefined` while
   * another one is open, so that a burst of ranges costs one more transfer at most.
   */
  openAhead(range: ByteRange): Reader | undefined;
}
