import { setTimeout as sleep } from 'node:timers/promises';
import type { ByteRange, Reader } from '../../oci/content.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Ingest } from '../../store/files/blob-store.ts';
import type { Wish } from './wish.ts';
import { FAR_BYTES } from './range-policy.ts';

/*
 *   starting ──▶ streaming ──▶ finished        the bytes are verified; clients may complete
 *      │             ├───────▶ failed          damaged, or not to be had: clients are cut short
 *      │             └───────▶ unstored        no room, or the disk failed: passed on, not kept
 *      │             ├───────▶ left            nobody wants more of the parts that are here
 *      └──▶ absent | failed | unstored
 *
 * The state only moves right, along one of the arrows.
 */
export type DownloadState =
  'starting' | 'streaming' | 'finished' | 'left' | 'absent' | 'failed' | 'unstored';

/** The transfer of one reader that asks the upstream itself. */
export interface OwnRequest {
  /** The answer is the whole blob: what goes out unverified must not complete it. */
  readonly isWhole: boolean;
  /** It is a part that is fetched without the rest, and told to be unverified: its last byte is not waited for. */
  readonly isPart: boolean;
  readonly client: string | undefined;
}

export interface FollowingOptions {
  readonly range: ByteRange;
  readonly request: OwnRequest;
  /** How long a range far ahead waits before it is asked for beside the download. */
  readonly rangeMs: number;
}

/** The last bytes that came, which are still in memory. */
export interface Recent {
  /** From this position to the end of the chunk that holds it, to be read at any time. */
  find(position: number): Buffer | undefined;
  /** Copies what is there from this position on instead; how many bytes that are. */
  copy(into: Buffer, position: number): number;
}

/** What a reader sees of the download that it follows. */
export interface Growing {
  readonly digest: Digest;
  readonly state: DownloadState;
  /** Why it is `failed` or `unstored`. */
  readonly failure: unknown;
  /**
   * Up to where a reader may go that is at this position, at least that: the last byte stays back until all
   * bytes are verified, but for who asks for a part.
   */
  readableFrom(position: number, request: OwnRequest): number;
  /** Settles with the next byte or the next state. */
  growth(): Promise<void>;
  readonly recent: Recent | undefined;
  /** Nothing comes that no reader has asked for. */
  readonly isInParts: boolean;
  /**
   * For what the file does not give: what is passed on without being kept, else a request of its
   * own, verified where the answer is the whole blob.
   */
  openDirect(range: ByteRange, request: OwnRequest): Promise<Reader>;
  /** Has them fetched from the upstream without what is in front of them; `undefined` where that is not possible. */
  want(ranges: readonly ByteRange[]): Wish | undefined;
}

/** A range is fetched by itself when the download would take this many times `rangeMs` to reach it. */
const PATIENCE_FACTOR = 3;

const EMPTY = Buffer.alloc(0);

/**
 * Reads a growing file at its own pace and waits where it has no bytes yet. It holds the file open and
 * leaves the download alone.
 */
export class FollowingReader implements Reader {
  readonly #download: Growing;
  readonly #ingest: Ingest;
  readonly #end: number;
  /** How to ask the upstream for bytes that the file does not get. */
  readonly #request: OwnRequest;
  readonly #rangeMs: number;
  #position: number;
  #direct: Reader | undefined;
  #wish: Wish | undefined;
  /** Whether it is far ahead of the download is not known yet. */
  #mayBeFar: boolean;
  #isUnreadable = false;
  #closed = false;

  constructor(download: Growing, ingest: Ingest, { range, request, rangeMs }: FollowingOptions) {
    this.#download = download;
    this.#ingest = ingest;
    this.#position = range.start;
    this.#end = range.end;
    this.#request = request;
    this.#rangeMs = rangeMs;
    this.#mayBeFar = !download.isInParts && this.#gap() >= FAR_BYTES;
    if (download.isInParts) this.#ask();
  }

  /** Why what it waits for does not come. */
  get failure(): unknown {
    return this.#available() > 0 ? undefined : this.#wish?.failure;
  }

  async ready(): Promise<void> {
    while (this.#position < this.#end && !this.#closed) {
      const growth = this.#download.growth();
      const { state } = this.#download;
      const isGrowing = state === 'starting' || state === 'streaming';
      if (this.#direct) await this.#direct.ready?.();
      const hasNews = this.#available() > 0 || this.#wish?.failure !== undefined;
      if (hasNews || !isGrowing || this.#isUnreadable || this.#mayBeFar) return;
      await growth;
    }
  }

  shared(): Buffer | undefined {
    const available = this.#available();
    if (this.#closed || this.#isUnreadable || available <= 0) return undefined;
    const recent = this.#download.recent?.find(this.#position);
    return recent && this.#advance(recent.subarray(0, available));
  }

  async read(scratch: Buffer): Promise<Buffer> {
    while (this.#position < this.#end && !this.#closed) {
      // Taken before the state is read, so that no change is missed.
      const growth = this.#download.growth();
      const available = this.#available();
      if (available > 0 && !this.#isUnreadable) {
        const bytes = await this.#readWritten(scratch, available).catch(() => EMPTY);
        if (bytes.length > 0) return this.#advance(bytes);
        // The file does not give what was written to it: the rest comes from the upstream.
        this.#isUnreadable = true;
      }
      if (this.#isUnreadable) return this.#advance(await this.#readDirect(scratch));
      const { state } = this.#download;
      if (state === 'finished') break;
      if (state === 'failed') throw this.#download.failure;
      if (state === 'unstored' || state === 'left')
        return this.#advance(await this.#readDirect(scratch));
      if (this.#wish?.failure !== undefined) throw this.#wish.failure as Error;
      if (this.#mayBeFar && (await this.#isFarAhead())) this.#ask();
      else await growth;
    }
    return EMPTY;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#direct?.close();
    this.#wish?.[Symbol.dispose]();
    await this.#ingest.release();
  }

  #available(): number {
    const readable = this.#download.readableFrom(this.#position, this.#request);
    return Math.min(this.#end, readable) - this.#position;
  }

  #gap(): number {
    const isThere = this.#ingest.heldFrom(this.#position) > this.#position;
    return isThere ? 0 : this.#position - this.#ingest.written;
  }

  #advance(bytes: Buffer): Buffer {
    this.#position += bytes.length;
    this.#wish?.moveTo(this.#position);
    return bytes;
  }

  #ask(): void {
    this.#wish ??= this.#download.want([{ start: this.#position, end: this.#end }]);
    this.#wish?.moveTo(this.#position);
  }

  /** From memory for a reader that keeps up with the transfer, else from the file. */
  async #readWritten(scratch: Buffer, available: number): Promise<Buffer> {
    const wanted = available < scratch.length ? scratch.subarray(0, available) : scratch;
    const recent = this.#download.recent?.copy(wanted, this.#position) ?? 0;
    if (recent > 0) return wanted.subarray(0, recent);
    return wanted.subarray(0, await this.#ingest.readAt(wanted, this.#position));
  }

  async #readDirect(scratch: Buffer): Promise<Buffer> {
    // All that follows comes from there: the file may have bytes again behind what it lacks.
    this.#isUnreadable = true;
    const rest = { start: this.#position, end: this.#end };
    this.#direct ??= await this.#download.openDirect(rest, this.#request);
    if (!this.#closed) return this.#direct.read(scratch);
    // The client left while it was opened.
    await this.#direct.close();
    return EMPTY;
  }

  async #isFarAhead(): Promise<boolean> {
    this.#mayBeFar = false;
    const before = this.#gap();
    await sleep(this.#rangeMs);
    const after = this.#gap();
    return !this.#closed && after >= FAR_BYTES && after > PATIENCE_FACTOR * (before - after);
  }
}
