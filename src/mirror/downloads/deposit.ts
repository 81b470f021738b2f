import type { Digest } from '../../oci/digest.ts';
import type { Target } from '../../oci/reference.ts';
import { NoRoomError, type Budget, type Health, type Room } from '../../store/care/care.ts';
import type { Catalog } from '../../store/catalog/catalog.ts';
import type { BlobStore, Ingest } from '../../store/files/blob-store.ts';

export interface DepositParts {
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly budget: Budget;
  readonly health: Health;
  readonly now: () => number;
}

/**
 * One blob's way into the store: its file, the room that it takes, its record. What fails here is
 * the store's fault.
 */
export class Deposit implements Disposable {
  readonly ingest: Ingest;
  readonly #parts: DepositParts;
  readonly #target: Target;
  #room: Room | undefined;

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
    const { written } = this.ingest;
    this.#room ??= await this.#orWithoutRoom(this.#parts.budget.admit(size, { written }), size);
  }

  /** After `enter`. */
  async append(chunk: Buffer): Promise<void> {
    const room = this.#room;
    if (room) await this.#orWithoutRoom(room.take(chunk.length), room.size);
    await this.ingest.append(chunk);
    room?.wrote(chunk.length);
  }

  /** After the ingest was verified. */
  async commit(): Promise<void> {
    const changedAt = await this.ingest.commit();
    const { catalog, budget, health, now } = this.#parts;
    const { digest, written } = this.ingest;
    const record = { size: written, changedAt, storedAt: now() };
    await catalog.recordBlob(this.#target, digest, record);
    health.took();
    budget.wake();
  }

  /** Never rejects. Gives the room back; whoever reads the file goes on. */
  async abort(options: { keep: boolean }): Promise<void> {
    await this.ingest.abort(options).catch(() => undefined);
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
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
