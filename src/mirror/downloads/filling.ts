import type { ByteRange } from '../../oci/content.ts';
import type { Deposit } from './deposit.ts';
import { GrowthSignal } from './growth-signal.ts';
import type { Transfer } from './transfer.ts';

/** Keeps bytes that have come. Rejects when the store does not take them. */
export type Take = (chunk: Buffer, position: number) => Promise<void>;

/**
 * A file that several transfers fill: what of it is on its way over which of them, so that no byte is asked
 * for twice, and what went wrong with the file.
 */
export class Filling {
  readonly #deposit: Deposit;
  readonly #take: Take;
  /** From the first byte on that is not kept yet. */
  readonly #underway = new Map<Transfer, { start: number; end: number }>();
  readonly #change = new GrowthSignal();
  #fault: { readonly error: unknown } | undefined;

  constructor(deposit: Deposit, take: Take) {
    this.#deposit = deposit;
    this.#take = take;
  }

  /** Settles when something is on its way no more, or was noted. */
  get changed(): Promise<void> {
    return this.#change.next;
  }

  /** What the store does not take ends the download. */
  get fault(): { readonly error: unknown } | undefined {
    return this.#fault;
  }

  /** Whether anything comes. */
  get isBusy(): boolean {
    return this.#underway.size > 0;
  }

  wake(): void {
    this.#change.wake();
  }

  note(transfer: Transfer, { start, end }: ByteRange): void {
    this.#underway.set(transfer, { start, end });
  }

  remove(transfer: Transfer): void {
    if (this.#underway.delete(transfer)) this.wake();
  }

  /** What a transfer has still to bring. */
  of(transfer: Transfer): ByteRange | undefined {
    return this.#underway.get(transfer);
  }

  /** Makes it a file with holes; false when that is not possible. */
  async spread(size: number): Promise<boolean> {
    return this.#orFault(async () => this.#deposit.spread(size));
  }

  /** The chunk that the transfer has just brought; false when the store does not take it. */
  async keep(transfer: Transfer, chunk: Buffer): Promise<boolean> {
    const { position } = transfer;
    const isKept = await this.#orFault(async () => this.#take(chunk, position - chunk.length));
    const underway = this.#underway.get(transfer);
    if (underway) {
      underway.start = position;
      // All of the blob comes although a piece was asked for.
      underway.end = transfer.end ?? Infinity;
    }
    return isKept;
  }

  async #orFault(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      this.#fault ??= { error };
      this.wake();
      return false;
    }
  }

  /** What is not here of a range. */
  holes(range: ByteRange): ByteRange[] {
    return this.#deposit.ingest.holes(range);
  }

  /**
   * What is neither here nor on its way, in order. `reach`: what is so far behind what a transfer has brought
   * is not on its way yet.
   */
  free(range: ByteRange, reach = Infinity): ByteRange[] {
    const underway = [...this.#underway.values()].toSorted((one, other) => one.start - other.start);
    return this.holes(range).flatMap(({ start, end }) => {
      const free: ByteRange[] = [];
      let from = start;
      for (const taken of underway) {
        const upTo = Math.min(taken.end, taken.start + reach);
        if (upTo <= from || taken.start >= end) continue;
        if (taken.start > from) free.push({ start: from, end: taken.start });
        from = upTo;
      }
      if (from < end) free.push({ start: from, end });
      return free;
    });
  }
}
