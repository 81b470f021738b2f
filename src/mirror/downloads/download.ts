import type { ByteRange, Content, Reader } from '../../oci/content.ts';
import type { Digest } from '../../oci/digest.ts';
import { IntegrityError } from '../../oci/integrity-error.ts';
import type { Target } from '../../oci/reference.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { NoRoomError, type Budget, type Health, type Room } from '../../store/care/care.ts';
import type { Catalog } from '../../store/catalog/catalog.ts';
import type { BlobStore, Ingest } from '../../store/files/blob-store.ts';
import type { SharedDemand } from './demand.ts';
import { DirectReader } from './direct-reader.ts';
import { FollowingReader } from './following-reader.ts';
import type { DownloadState, Growing } from './growing.ts';
import { RecentChunks } from './recent-chunks.ts';
import type { TransferQueue } from './transfer-queue.ts';
import { Transfer, type TransferSource } from './transfer.ts';

export interface DownloadParts {
  readonly target: Target;
  readonly source: TransferSource;
  readonly demand: SharedDemand;
  /** Of the upstream. While a download waits in it clients have their headers. */
  readonly queue: TransferQueue;
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly budget: Budget;
  readonly health: Health;
  readonly now: () => number;
}

/** Smaller blobs wait in no queue: most of their bytes came with the headers. */
const SMALL_BYTES = 1024 * 1024;

/**
 * One blob on its way from an upstream into the store, read by any number of clients meanwhile. A
 * client that leaves changes nothing here.
 */
export class Download implements Content, Growing {
  readonly target: Target;
  readonly digest: Digest;
  readonly #parts: DownloadParts;
  readonly #transfer: Transfer;
  readonly #started = Promise.withResolvers<boolean>();
  #growth: PromiseWithResolvers<void> | undefined;
  #ingest: Ingest | undefined;
  readonly #recent = new RecentChunks();
  #ahead: DirectReader | undefined;
  #room: Room | undefined;
  #state: DownloadState = 'starting';
  #failure: unknown;

  constructor(parts: DownloadParts) {
    this.target = parts.target;
    this.digest = parts.source.digest;
    this.#parts = parts;
    this.#transfer = new Transfer({ ...parts.source, demand: parts.demand });
    // Nobody may be waiting for it when it fails.
    this.#started.promise.catch(() => undefined);
  }

  get state(): DownloadState {
    return this.#state;
  }

  get size(): number | undefined {
    return this.#state === 'finished' ? this.#ingest?.written : this.#transfer.size;
  }

  get isVerified(): boolean {
    return this.#state === 'finished';
  }

  /** False when the upstream has no such blob. Rejects when it could not be asked. */
  get started(): Promise<boolean> {
    return this.#started.promise;
  }

  /** Whoever joins now gets nothing from it. */
  get hasFailed(): boolean {
    return this.#state === 'failed' || this.#state === 'unstored' || this.#state === 'absent';
  }

  get failure(): unknown {
    return this.#failure;
  }

  get readable(): number {
    const written = this.#ingest?.written ?? 0;
    if (this.#state === 'finished') return written;
    return Math.max(0, Math.min(written, (this.#transfer.size ?? written) - 1));
  }

  get rangeMs(): number {
    return this.#parts.source.timing.rangeMs;
  }

  findRecent(position: number): Buffer | undefined {
    return this.#recent.find(position);
  }

  async growth(): Promise<void> {
    this.#growth ??= Promise.withResolvers<void>();
    return this.#growth.promise;
  }

  /** After `started` resolved with true. */
  async open(range: ByteRange = { start: 0, end: this.size ?? Infinity }): Promise<Reader> {
    if (this.#ingest?.retain()) return new FollowingReader(this, this.#ingest, range);
    // Its file is closed: it has ended, and the last reader has left.
    if (this.#state === 'failed') throw this.#failure;
    const stored = await this.#parts.blobs.find(this.digest);
    return stored ? stored.open(range) : this.openDirect(range);
  }

  /** Behind what was written, or from the start. */
  async openDirect(range: ByteRange): Promise<Reader> {
    const ingest = this.#ingest;
    const written =
      ingest && ingest.written <= range.start
        ? { size: ingest.written, digester: await ingest.digester() }
        : undefined;
    return new DirectReader({ source: this.#parts.source, range, written });
  }

  openAhead(range: ByteRange): Reader | undefined {
    const { size } = this.#transfer;
    if (size === undefined || (this.#ahead && !this.#ahead.isClosed)) return undefined;
    this.#ahead = new DirectReader({
      source: this.#parts.source,
      range: { start: range.start, end: Math.min(range.end, size - 1) },
      isUnverified: true,
    });
    return this.#ahead;
  }

  /** Stops the transfer and keeps the partial file for the next attempt. */
  abort(): void {
    this.#parts.demand.abort();
  }

  /** The whole life of the download. Never rejects. */
  async run(): Promise<void> {
    try {
      await this.#openIngest();
      const found = await this.#start();
      if (found === 'absent') {
        // What another repository or upstream sent of it stays.
        await this.#ingest?.abort({ keep: true });
        this.#end('absent');
      } else if (this.#ingest) {
        const ingest = this.#ingest;
        if (found === 'started') await this.#fill(ingest);
        await this.#keep(ingest);
      } else {
        this.#transfer.discard();
        this.#end('unstored', this.#failure);
      }
    } catch (error) {
      await this.#giveUp(error);
    } finally {
      this.#room?.[Symbol.dispose]();
    }
  }

  async #openIngest(): Promise<void> {
    try {
      this.#ingest = await this.#parts.blobs.ingest(this.digest, this.target.upstream);
    } catch (error) {
      this.#failure = error;
    }
  }

  async #start(): Promise<'started' | 'absent' | 'complete'> {
    try {
      return (await this.#transfer.start(this.#ingest?.written ?? 0)) ? 'started' : 'absent';
    } catch (error) {
      if (!this.#ingest || !(error instanceof UpstreamError) || error.status !== 416) throw error;
      // The upstream has nothing behind the partial file: it is the whole blob, or no part of it.
      if (await this.#ingest.isComplete()) return 'complete';
      await this.#ingest.reset();
      return (await this.#transfer.start(0)) ? 'started' : 'absent';
    }
  }

  async #fill(ingest: Ingest): Promise<void> {
    this.#move('streaming');
    this.#started.resolve(true);
    const room = await this.#enterStore(ingest);
    const { size } = this.#transfer;
    const isSmall = size !== undefined && size <= SMALL_BYTES;
    using _ = isSmall ? undefined : await this.#parts.queue.enter(this.#parts.demand);
    for await (const chunk of this.#transfer.chunks()) {
      await this.#parts.demand.pass(chunk.length);
      await this.#orWithoutRoom(room.take(chunk.length));
      await ingest.append(chunk);
      room.wrote(chunk.length);
      this.#recent.add(chunk, ingest.written);
      this.#wake();
    }
  }

  /** Clients have their headers and wait for the eviction of older images at most. */
  async #enterStore(ingest: Ingest): Promise<Room> {
    const { size } = this.#transfer;
    try {
      const { written } = ingest;
      this.#room = await this.#orWithoutRoom(this.#parts.budget.admit(size, { written }));
      return this.#room;
    } catch (error) {
      this.#transfer.discard();
      throw error;
    }
  }

  /** A store that fails to make room is a store without room: the blob is passed through. */
  async #orWithoutRoom<Result>(making: Promise<Result>): Promise<Result> {
    try {
      return await making;
    } catch (cause) {
      if (cause instanceof NoRoomError) throw cause;
      throw new NoRoomError(this.#transfer.size ?? 0, { cause });
    }
  }

  async #keep(ingest: Ingest): Promise<void> {
    await ingest.verify(this.#transfer.size);
    this.#end('finished');
    const changedAt = await ingest.commit();
    const { target, digest } = this;
    const { catalog, budget, health, now } = this.#parts;
    const record = { size: ingest.written, changedAt, storedAt: now() };
    await catalog.recordBlob(target, digest, record);
    health.took();
    budget.wake();
  }

  async #giveUp(error: unknown): Promise<void> {
    if (this.#state === 'finished') {
      // Clients have their verified bytes; the store failed to keep them.
      this.#failure = error;
      await this.#ingest?.abort({ keep: false }).catch(() => undefined);
      return;
    }
    const unstored = isStoreFault(error);
    this.#end(unstored ? 'unstored' : 'failed', error);
    const keep = !unstored && !(error instanceof IntegrityError);
    await this.#ingest?.abort({ keep }).catch(() => undefined);
  }

  #end(state: Exclude<DownloadState, 'starting' | 'streaming'>, failure?: unknown): void {
    this.#failure = failure;
    this.#move(state);
    if (state === 'failed') this.#started.reject(failure);
    else this.#started.resolve(state !== 'absent');
    this.#wake();
  }

  #move(state: DownloadState): void {
    this.#state = state;
  }

  #wake(): void {
    this.#growth?.resolve();
    this.#growth = undefined;
  }
}

/** No room, or errors of system calls on files; those of sockets arrive as `UpstreamError`. */
function isStoreFault(error: unknown): boolean {
  return error instanceof NoRoomError || (error as NodeJS.ErrnoException).syscall !== undefined;
}
