import type { ByteRange, Content, Reader } from '../../oci/content.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Target } from '../../oci/reference.ts';
import type { BlobStore } from '../../store/files/blob-store.ts';
import type { Ingest } from '../../store/files/ingest.ts';
import { NoRoomError } from '../../store/care/no-room-error.ts';
import { IntegrityError } from '../../oci/integrity-error.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import type { Demand } from '../../upstream/demand.ts';
import type { SharedDemand } from './demand.ts';
import { DirectReader } from './direct-reader.ts';
import { FollowingReader } from './following-reader.ts';
import { RecentChunks } from './recent-chunks.ts';
import { Shortcut } from './shortcut.ts';
import type { Transfer } from './transfer.ts';

/*
 * One blob on its way from an upstream into the store, read by any number of clients meanwhile.
 *
 *   starting ──▶ streaming ──▶ finished        the bytes are verified; clients may complete
 *      │             ├───────▶ failed          damaged, or not to be had: clients are cut short
 *      │             └───────▶ unstored        the disk failed: each client goes on by itself
 *      └──▶ absent | failed | unstored
 *
 * The state only moves right, along one of the arrows. `started` settles when `starting` ends,
 * `settled` when the file is committed or given up. A client that leaves changes nothing here.
 */
export type DownloadState =
  'starting' | 'streaming' | 'finished' | 'absent' | 'failed' | 'unstored';

export type CreateTransfer = (demand: Demand, end?: number) => Transfer;

export interface DownloadParts {
  readonly target: Target;
  readonly digest: Digest;
  readonly demand: SharedDemand;
  readonly blobs: BlobStore;
  /** Makes the transfer that fills the file, and those for clients that must go on by themselves. */
  readonly createTransfer: CreateTransfer;
  /** How long a range far ahead waits before it asks by itself. */
  readonly rangeMs: number;
  /**
   * Runs the transfer of this many bytes when it is its turn at the upstream. Until then the
   * headers are here and clients have theirs.
   */
  readonly inTurn: (size: number | undefined, transfer: () => Promise<void>) => Promise<void>;
  /** Sets room in the store aside; `undefined` when there is none. */
  readonly admit: (size: number) => Promise<Disposable | undefined>;
  /** The catalog's part: called with the size of a committed blob and its file's change time. */
  readonly record: (size: number, changedAt: number) => Promise<void>;
  /** Called once when all is over, before `settled`. */
  readonly ended: () => void;
}

export class Download implements Content {
  readonly target: Target;
  readonly digest: Digest;
  readonly #parts: DownloadParts;
  readonly #transfer: Transfer;
  readonly #started = Promise.withResolvers<boolean>();
  readonly #settled = Promise.withResolvers<void>();
  #growth: PromiseWithResolvers<void> | undefined;
  #ingest: Ingest | undefined;
  readonly #recent = new RecentChunks();
  #hasShortcut = false;
  #room: Disposable | undefined;
  #state: DownloadState = 'starting';
  #failure: unknown;

  constructor(parts: DownloadParts) {
    this.target = parts.target;
    this.digest = parts.digest;
    this.#parts = parts;
    this.#transfer = parts.createTransfer(parts.demand);
    // A download that everyone has left may fail unheard.
    this.#started.promise.catch(() => undefined);
  }

  get state(): DownloadState {
    return this.#state;
  }

  get size(): number | undefined {
    return this.#state === 'finished' ? this.#ingest?.written : this.#transfer.size;
  }

  /** False when the upstream has no such blob. Rejects when it could not be asked. */
  get started(): Promise<boolean> {
    return this.#started.promise;
  }

  /** Never rejects. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** It will bring nothing more for those who come now. */
  get hasFailed(): boolean {
    return this.#state === 'failed' || this.#state === 'unstored' || this.#state === 'absent';
  }

  /** Why it is `failed` or `unstored`. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Readers may go up to here: the last byte stays back until all bytes are verified. */
  get readable(): number {
    const written = this.#ingest?.written ?? 0;
    if (this.#state === 'finished') return written;
    return Math.max(0, Math.min(written, (this.#transfer.size ?? written) - 1));
  }

  /** The bytes from this position on, as far as they are still in memory. */
  findRecent(position: number): Buffer | undefined {
    return this.#recent.find(position);
  }

  /** Settles with the next byte or the next state. */
  async growth(): Promise<void> {
    this.#growth ??= Promise.withResolvers<void>();
    return this.#growth.promise;
  }

  /** After `started` resolved with true. */
  async open(range: ByteRange = { start: 0, end: this.size ?? Infinity }): Promise<Reader> {
    if (this.#ingest?.retain()) return new FollowingReader(this, this.#ingest, range);
    // Its file is closed, for all who read it have left.
    if (this.#state === 'failed') throw this.#failure;
    const stored = await this.#parts.blobs.find(this.digest);
    return stored ? stored.open(range) : this.openDirect(range);
  }

  /** A reader of its own from the upstream: behind what was written, or from the start. */
  async openDirect(range: ByteRange): Promise<Reader> {
    const { digest, createTransfer } = this.#parts;
    const ingest = this.#ingest;
    const written =
      ingest && ingest.written <= range.start
        ? { size: ingest.written, digester: await ingest.digester() }
        : undefined;
    return new DirectReader({ digest, createTransfer, range, written });
  }

  get rangeMs(): number {
    return this.#parts.rangeMs;
  }

  /**
   * A ranged transfer beside the fill, for a reader far ahead of it; `undefined` while another
   * reader has it, so that a burst of ranges stays near one transfer. The last byte is never in it.
   */
  openShortcut(range: ByteRange): Shortcut | undefined {
    const { size } = this.#transfer;
    if (this.#hasShortcut || size === undefined) return undefined;
    this.#hasShortcut = true;
    return new Shortcut({
      createTransfer: this.#parts.createTransfer,
      range: { start: range.start, end: Math.min(range.end, size - 1) },
      closed: () => {
        this.#hasShortcut = false;
      },
    });
  }

  /** Stops the transfer and keeps what has come, for the next attempt to go on from. */
  abort(): void {
    this.#parts.demand.abort();
  }

  /** The whole life of the download. Never rejects. */
  async run(): Promise<void> {
    try {
      await this.#openIngest();
      const found = await this.#start();
      if (found === 'absent') {
        await this.#ingest?.abort({ keep: false });
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
      this.#parts.ended();
      this.#settled.resolve();
    }
  }

  async #openIngest(): Promise<void> {
    try {
      this.#ingest = await this.#parts.blobs.ingest(this.digest);
    } catch (error) {
      this.#failure = error;
    }
  }

  async #start(): Promise<'started' | 'absent' | 'complete'> {
    try {
      return (await this.#transfer.start(this.#ingest?.written ?? 0)) ? 'started' : 'absent';
    } catch (error) {
      if (!this.#ingest || !(error instanceof UpstreamError) || error.status !== 416) throw error;
      // Nothing follows what an earlier process kept: it is all of the blob, or none of it.
      if (await this.#ingest.isComplete()) return 'complete';
      await this.#ingest.reset();
      return (await this.#transfer.start(0)) ? 'started' : 'absent';
    }
  }

  async #fill(ingest: Ingest): Promise<void> {
    this.#move('streaming');
    this.#started.resolve(true);
    await this.#makeRoom();
    await this.#parts.inTurn(this.#transfer.size, async () => {
      for await (const chunk of this.#transfer.chunks()) {
        await this.#parts.demand.pass(chunk.length);
        await ingest.append(chunk);
        this.#recent.add(chunk, ingest.written);
        this.#wake();
      }
    });
  }

  /** Clients have their headers by now, and wait for no more than the removal of older images. */
  async #makeRoom(): Promise<void> {
    const { size } = this.#transfer;
    if (size === undefined) return;
    try {
      this.#room = await this.#parts.admit(size);
      if (!this.#room) throw new NoRoomError(size);
    } catch (cause) {
      this.#transfer.discard();
      // Whatever keeps the store from making room takes nothing from the client.
      throw cause instanceof NoRoomError ? cause : new NoRoomError(size, { cause });
    }
  }

  async #keep(ingest: Ingest): Promise<void> {
    await ingest.verify(this.#transfer.size);
    this.#end('finished');
    const changedAt = await ingest.commit();
    await this.#parts.record(ingest.written, changedAt);
  }

  async #giveUp(error: unknown): Promise<void> {
    if (this.#state === 'finished') {
      // Clients have their verified bytes; only keeping them failed.
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
