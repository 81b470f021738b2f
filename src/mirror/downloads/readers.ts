import type { ByteRange, Reader } from '../../oci/content.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobStore } from '../../store/files/blob-store.ts';
import type { DownloadDemand } from './demand.ts';
import type { Deposit } from './deposit.ts';
import { DirectReader } from './direct-reader.ts';
import {
  FollowingReader,
  type DownloadState,
  type Growing,
  type OwnRequest,
} from './following-reader.ts';
import type { Parts } from './parts.ts';
import type { Passage } from './passage.ts';
import type { Progress } from './progress.ts';
import type { Transfer } from './transfer.ts';
import type { TransferSource } from './transfer-source.ts';
import type { Wish } from './wish.ts';

export interface ReadersParts {
  readonly source: TransferSource;
  readonly blobs: BlobStore;
  readonly transfer: Transfer;
  readonly progress: Progress;
}

/** Where those who read a download have its bytes from, whatever becomes of it. */
export class Readers implements Growing {
  readonly #parts: ReadersParts;
  /** While it is kept, or may be. */
  deposit: Deposit | undefined;
  pieces: Parts | undefined;
  /** Of what is passed on. */
  passage: Passage | undefined;
  #isShown = false;

  constructor(parts: ReadersParts) {
    this.#parts = parts;
  }

  get digest(): Digest {
    return this.#parts.source.digest;
  }

  get state(): DownloadState {
    return this.#parts.progress.state;
  }

  get failure(): unknown {
    return this.#parts.progress.failure;
  }

  get size(): number | undefined {
    const { transfer } = this.#parts;
    return this.state === 'finished' ? this.deposit?.ingest.written : transfer.size;
  }

  /** A reader was told of bytes, which therefore stand. */
  get isShown(): boolean {
    return this.#isShown;
  }

  get isInParts(): boolean {
    return this.pieces?.isAlone === true;
  }

  get recent(): Growing['recent'] {
    return this.deposit?.recent;
  }

  async growth(): Promise<void> {
    return this.#parts.progress.growth;
  }

  readableFrom(position: number, { isPart }: OwnRequest): number {
    const held = this.deposit?.ingest.heldFrom(position) ?? position;
    const { transfer } = this.#parts;
    if (this.state === 'finished') return held;
    if (transfer.isGuess) return position;
    const readable = isPart ? held : Math.min(held, (transfer.size ?? held) - 1);
    this.#isShown ||= readable > position;
    return Math.max(position, readable);
  }

  async open(
    range: ByteRange = { start: 0, end: this.size ?? Infinity },
    { ranges, client }: Pick<DownloadDemand, 'ranges' | 'client'> = {},
  ): Promise<Reader> {
    const { source, blobs } = this.#parts;
    const { size } = this;
    const isWhole = range.start === 0 && range.end >= (size ?? Infinity);
    const isPart = size !== undefined && source.ranges.partsOf(ranges, size) !== undefined;
    const request = { isWhole, isPart, client };
    const ingest = this.deposit?.ingest;
    if (ingest?.retain()) {
      const { rangeMs } = source.timing;
      const reader = new FollowingReader(this, ingest, { range, request, rangeMs });
      if (this.isInParts) await this.#requireFirst(reader);
      return reader;
    }
    // Its file is closed: it has ended, and the last reader has left, or it is not kept.
    if (this.state === 'failed') throw this.failure as Error;
    const stored = this.state === 'finished' ? await blobs.find(this.digest) : undefined;
    return stored ? stored.open(range) : this.openDirect(range, request);
  }

  /** Its client has no headers yet, so that it can still be told why a part does not come. */
  async #requireFirst(reader: FollowingReader): Promise<void> {
    await reader.ready();
    if (reader.failure === undefined) return;
    await reader.close();
    throw reader.failure as Error;
  }

  async openDirect(range: ByteRange, { isWhole, client }: OwnRequest): Promise<Reader> {
    const isPassed = isWhole || this.passage?.has(range.start) === true;
    const passed = isPassed ? this.passage?.open(range, client) : undefined;
    const own = { source: this.#parts.source, range, client, isUnverified: !isWhole };
    return passed ?? DirectReader.behind(this.deposit?.ingest, own, this.size);
  }

  want(ranges: readonly ByteRange[]): Wish | undefined {
    const isGrowing = this.state === 'starting' || this.state === 'streaming';
    const { size } = this.#parts.transfer;
    return isGrowing && size !== undefined ? this.pieces?.want(ranges, size) : undefined;
  }
}
