import type { Transfer } from './transfer.ts';

/** A connection that brings less than this share of what one of its blob has ever brought is slow. */
const SLOW = 1 / 8;

/** What each connection of a blob brings, measured over so many milliseconds at a time. */
export class ConnectionRates {
  readonly #windowMs: number;
  #since = -Infinity;
  #best = 0;
  #bytes = new Map<Transfer, number>();
  /** Measured from the start of this time on. */
  #present: readonly Transfer[] = [];

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  came(transfer: Transfer, bytes: number): void {
    this.#bytes.set(transfer, (this.#bytes.get(transfer) ?? 0) + bytes);
  }

  /**
   * Those that were slow all of the time that has just ended; none while it lasts. The first call begins
   * it. `present`: the connections that are measured from now on.
   */
  look(now: number, present: () => readonly Transfer[]): readonly Transfer[] {
    if (now - this.#since < this.#windowMs) return [];
    // What came before the first call came in a longer time; later also what ended before this time did counts.
    const isFirst = this.#since === -Infinity;
    if (!isFirst) this.#best = Math.max(this.#best, ...this.#bytes.values());
    const slow = this.#present.filter(
      (transfer) => (this.#bytes.get(transfer) ?? 0) < this.#best * SLOW,
    );
    this.#since = now;
    this.#bytes = new Map();
    this.#present = present();
    return slow;
  }
}
