import { BLOCKS } from '../../net/blocks.ts';
import { Traces } from '../../observe/traces.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Target } from '../../oci/reference.ts';
import { NoRoomError, type Budget, type Health, type Room } from '../../store/care/care.ts';
import type { Catalog } from '../../store/catalog/catalog.ts';
import type { Recent } from './following-reader.ts';
import type { PassageParts } from './passage.ts';
import type { BlobStore, Ingest } from '../../store/files/blob-store.ts';

export interface DepositParts {
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly budget: Budget;
  readonly health: Health;
  readonly now: () => number;
}

/** System calls on files failed, or there is no room; what sockets fail at is an `UpstreamError`. */
export function isStoreFault(error: unknown): boolean {
  return error instanceof NoRoomError || (error as NodeJS.ErrnoException).syscall !== undefined;
}

/** When no bytes come for so long, as while it waits for a turn, its readers have the file. */
const RECENT_MS = 2_000;
/** A reader that falls further behind reads the file. */
const MAX_RECENT_BYTES = 1024 * 1024;

/**
 * One blob's way into the store: its file with the last chunks in memory, the room that it takes, its
 * record. What fails here is the store's fault.
 */
export class Deposit implements Disposable {
  readonly ingest: Ingest;
  readonly recent = new RecentChunks();
  readonly #parts: DepositParts;
  readonly #target: Target;
  #room: Room | undefined;
  /** What a write was given that failed right behind what is written. */
  #unwritten: Buffer | undefined;
  #working = Promise.resolve();

  static async open(parts: DepositParts, target: Target, digest: Digest): Promise<Deposit> {
    return new Deposit(parts, target, await parts.blobs.ingest(digest, target.upstream));
  }

  constructor(parts: DepositParts, target: Target, ingest: Ingest) {
    this.ingest = ingest;
    this.#parts = parts;
    this.#target = target;
  }

  /** Finds room for it, once. Clients wait for the eviction of older images at most. */
  async enter(size: number | undefined): Promise<void> {
    const { held: written } = this.ingest;
    this.#room ??= await this.#orWithoutRoom(this.#parts.budget.admit(size, { written }), size);
  }

  /** After `enter`. One write after the other. */
  async write(chunk: Buffer, position: number): Promise<void> {
    await this.#inTurn(async () => this.#write(chunk, position));
  }

  /** From now on bytes come at any position. */
  async spread(size: number): Promise<void> {
    await this.#inTurn(async () => this.ingest.spread(size));
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const working = this.#working.then(work);
    this.#working = working.catch(() => undefined);
    await working;
  }

  async #write(chunk: Buffer, position: number): Promise<void> {
    const { ingest } = this;
    const room = this.#room;
    const isNext = position === ingest.written;
    if (isNext) this.#unwritten = chunk;
    if (room) await this.#orWithoutRoom(room.take(chunk.length), room.size);
    const before = ingest.held;
    if (ingest.size === undefined) await ingest.append(chunk);
    else await ingest.write(chunk, position);
    room?.wrote(ingest.held - before);
    if (isNext) this.#unwritten = undefined;
    // Those who read from the start keep up with nothing else.
    const end = position + chunk.length;
    if (ingest.written === end) this.recent.add(chunk, end);
    else BLOCKS.give(chunk);
  }

  /** Forgets what came, of which no reader has seen anything. */
  async restart(): Promise<void> {
    this[Symbol.dispose]();
    this.#room = undefined;
    await this.ingest.reset();
  }

  /** After the ingest was verified. The file is not removed before its record stands. */
  async commit(): Promise<void> {
    await Traces.span('commit', async () => this.#commit());
  }

  async #commit(): Promise<void> {
    const { blobs, catalog, budget, health, now } = this.#parts;
    const { digest, written } = this.ingest;
    using _ = blobs.lease(digest);
    const changedAt = await this.ingest.commit();
    const { upstream } = this.#target;
    const record = { size: written, changedAt, storedAt: now(), upstream };
    await catalog.recordBlob(this.#target, digest, record);
    health.took(written);
    budget.wake();
  }

  /** Ends it without a blob; the result is what a transfer needs that goes on without the store. */
  async leave(): Promise<Pick<PassageParts, 'position' | 'digester' | 'unwritten'>> {
    const { written: position } = this.ingest;
    const digester = await this.ingest.digester();
    await this.abort({ keep: false });
    return { position, digester, unwritten: this.#unwritten };
  }

  /** Never rejects. Gives the room back; whoever reads the file goes on. */
  async abort(options: Parameters<Ingest['abort']>[0]): Promise<void> {
    await this.ingest.abort(options).catch(() => undefined);
    this[Symbol.dispose]();
  }

  /** Gives room and memory back; the file has the bytes. */
  [Symbol.dispose](): void {
    this.recent.clear();
    this.#room?.[Symbol.dispose]();
  }

  /** A store that fails to make room is a store without room: the blob is passed on. */
  async #orWithoutRoom<Result>(making: Promise<Result>, size = 0): Promise<Result> {
    try {
      return await making;
    } catch (cause) {
      if (cause instanceof NoRoomError) throw cause;
      throw new NoRoomError(size, { cause });
    }
  }
}

interface RecentChunk {
  readonly start: number;
  readonly bytes: Buffer;
  /** Somebody may read it at any time. */
  isLent: boolean;
}

/**
 * The last chunks that were appended to a growing file, for readers that would each read the file. The
 * memory of those that nobody was lent is used again.
 */
class RecentChunks implements Recent {
  readonly #chunks: RecentChunk[] = [];
  #size = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `end` is the position behind the chunk's last byte. */
  add(bytes: Buffer, end: number): void {
    this.#chunks.push({ start: end - bytes.length, bytes, isLent: false });
    this.#size += bytes.length;
    this.#timer ??= setTimeout(() => this.clear(), RECENT_MS).unref();
    this.#timer.refresh();
    while (this.#size > MAX_RECENT_BYTES && this.#chunks.length > 1) this.#drop();
  }

  clear(): void {
    while (this.#chunks.length > 0) this.#drop();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** The bytes from this position to the end of the chunk that holds it. */
  find(position: number): Buffer | undefined {
    const chunk = this.#at(position);
    if (!chunk) return undefined;
    chunk.isLent = true;
    return chunk.bytes.subarray(position - chunk.start);
  }

  copy(into: Buffer, position: number): number {
    let copied = 0;
    for (let chunk = this.#at(position); chunk && copied < into.length;) {
      copied += chunk.bytes.copy(into, copied, position + copied - chunk.start);
      chunk = this.#at(position + copied);
    }
    return copied;
  }

  #at(position: number): RecentChunk | undefined {
    const chunk = this.#chunks.findLast(({ start }) => start <= position);
    return chunk && position < chunk.start + chunk.bytes.length ? chunk : undefined;
  }

  #drop(): void {
    const chunk = this.#chunks.shift();
    if (!chunk) return;
    this.#size -= chunk.bytes.length;
    if (!chunk.isLent) BLOCKS.give(chunk.bytes);
  }
}
