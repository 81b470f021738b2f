import { setTimeout as sleep } from 'node:timers/promises';
import type { ByteRange, Reader } from '../../oci/content.ts';
import { type Digest, Digester, IntegrityError } from '../../oci/digest.ts';
import type { Ingest } from '../../store/files/blob-store.ts';

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

/** The transfer of one reader that asks the upstream itself. */
export interface OwnRequest {
  /** The answer is the whole blob: what goes out unverified must not complete it. */
  readonly isWhole: boolean;
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
   * bytes are verified.
   */
  readableFrom(position: number): number;
  /** Settles with the next byte or the next state. */
  growth(): Promise<void>;
  readonly recent: Recent | undefined;
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

/** A range that begins nearer than this waits for the download. */
const FAR_BYTES = 8 * 1024 * 1024;
/** A range is read ahead when the download would take this many times `rangeMs` to reach it. */
const PATIENCE_FACTOR = 3;

const CHECK_BYTES = 1024 * 1024;
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
  #aheadReader: Reader | undefined;
  /** The range that was read ahead of the download, and its digest. */
  #ahead: { readonly start: number; end: number; readonly digester: Digester } | undefined;
  #mayReadAhead: boolean;
  #isUnreadable = false;
  #closed = false;

  constructor(download: Growing, ingest: Ingest, { range, request, rangeMs }: FollowingOptions) {
    this.#download = download;
    this.#ingest = ingest;
    this.#position = range.start;
    this.#end = range.end;
    this.#request = request;
    this.#rangeMs = rangeMs;
    this.#mayReadAhead = this.#gap() >= FAR_BYTES;
  }

  async ready(): Promise<void> {
    while (this.#position < this.#end && !this.#closed) {
      const growth = this.#download.growth();
      const { state } = this.#download;
      const readable = this.#download.readableFrom(this.#position);
      const isGrowing = state === 'starting' || state === 'streaming';
      if (this.#direct) await this.#direct.ready?.();
      if (readable > this.#position || !isGrowing || this.#isUnreadable || this.#mayReadAhead)
        return;
      await growth;
    }
  }

  shared(): Buffer | undefined {
    const isPlain = !this.#closed && !this.#isUnreadable && !this.#ahead && !this.#aheadReader;
    const available = this.#available();
    if (!isPlain || available <= 0) return undefined;
    const recent = this.#download.recent?.find(this.#position);
    return recent && this.#advance(recent.subarray(0, available));
  }

  async read(scratch: Buffer): Promise<Buffer> {
    while (this.#position < this.#end && !this.#closed) {
      // Taken before the state is read, so that no change is missed.
      const growth = this.#download.growth();
      const available = this.#available();
      if (available > 0 && !this.#isUnreadable) {
        await this.#closeAhead();
        await this.#checkAhead();
        const bytes = await this.#readWritten(scratch, available).catch(() => EMPTY);
        if (bytes.length > 0) return this.#advance(bytes);
        // The file does not give what was written to it: the rest comes from the upstream.
        this.#isUnreadable = true;
      }
      if (this.#isUnreadable) return this.#advance(await this.#readDirect(scratch));
      const { state } = this.#download;
      if (state === 'finished') break;
      if (state === 'failed') throw this.#download.failure;
      if (state === 'unstored') return this.#advance(await this.#readDirect(scratch));
      const bytes = await this.#readAhead(scratch);
      if (bytes) return this.#advance(bytes);
      await growth;
    }
    return EMPTY;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#direct?.close();
    await this.#aheadReader?.close();
    await this.#ingest.release();
  }

  #available(): number {
    return Math.min(this.#end, this.#download.readableFrom(this.#position)) - this.#position;
  }

  #gap(): number {
    const isThere = this.#ingest.heldFrom(this.#position) > this.#position;
    return isThere ? 0 : this.#position - this.#ingest.written;
  }

  #advance(bytes: Buffer): Buffer {
    this.#position += bytes.length;
    return bytes;
  }

  /** From memory for a reader that keeps up with the transfer, else from the file. */
  async #readWritten(scratch: Buffer, available: number): Promise<Buffer> {
    const wanted = available < scratch.length ? scratch.subarray(0, available) : scratch;
    const recent = this.#download.recent?.copy(wanted, this.#position) ?? 0;
    if (recent > 0) return wanted.subarray(0, recent);
    return wanted.subarray(0, await this.#ingest.readAt(wanted, this.#position));
  }

  async #readDirect(scratch: Buffer): Promise<Buffer> {
    const rest = { start: this.#position, end: this.#end };
    this.#direct ??= await this.#download.openDirect(rest, this.#request);
    if (!this.#closed) return this.#direct.read(scratch);
    // The client left while it was opened.
    await this.#direct.close();
    return EMPTY;
  }

  /** Bytes of a range far ahead of the download; `undefined` when the download is to be awaited. */
  async #readAhead(scratch: Buffer): Promise<Buffer | undefined> {
    if (!this.#mayReadAhead) return undefined;
    if (!this.#aheadReader) {
      if (!(await this.#isFarAhead())) return undefined;
      const range = { start: this.#position, end: this.#end };
      this.#aheadReader = this.#download.openAhead(range);
      if (!this.#aheadReader) return undefined;
      const start = this.#position;
      this.#ahead = { start, end: start, digester: new Digester('sha256') };
    }
    try {
      const bytes = await this.#aheadReader.read(scratch);
      if (bytes.length > 0) {
        this.#ahead?.digester.update(bytes);
        if (this.#ahead) this.#ahead.end += bytes.length;
        return bytes;
      }
    } catch {
      // An upstream that fails shows in the download itself.
    }
    await this.#closeAhead();
    return undefined;
  }

  /**
   * Compares what was read ahead, which no hash covers, with the verified file, before the last byte
   * is handed on.
   */
  async #checkAhead(): Promise<void> {
    if (!this.#ahead || this.#download.state !== 'finished') return;
    const { start, end, digester } = this.#ahead;
    this.#ahead = undefined;
    const written = new Digester('sha256');
    const scratch = Buffer.allocUnsafe(CHECK_BYTES);
    for (let position = start; position < end;) {
      const wanted = scratch.subarray(0, Math.min(scratch.length, end - position));
      const count = await this.#ingest.readAt(wanted, position);
      if (count === 0) break;
      written.update(wanted.subarray(0, count));
      position += count;
    }
    const [actual, expected] = [digester.value(), written.value()];
    if (actual !== expected) {
      throw new IntegrityError(this.#download.digest, { expected, actual });
    }
  }

  async #isFarAhead(): Promise<boolean> {
    const before = this.#gap();
    await sleep(this.#rangeMs);
    const after = this.#gap();
    return !this.#closed && after >= FAR_BYTES && after > PATIENCE_FACTOR * (before - after);
  }

  async #closeAhead(): Promise<void> {
    if (!this.#aheadReader) return;
    this.#mayReadAhead = false;
    await this.#aheadReader.close();
    this.#aheadReader = undefined;
  }
}

/** Wakes all that wait for the next byte or the next state. */
export class GrowthSignal {
  #next = Promise.withResolvers<void>();

  /** Resolves at the next change. Take it before you look at the state, so that no change is missed. */
  get next(): Promise<void> {
    return this.#next.promise;
  }

  wake(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }
}
