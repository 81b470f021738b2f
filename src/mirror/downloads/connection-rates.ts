import type { Transfer } from './transfer.ts';

/** A connection that brings less than this share of what one of its blob has ever brought is slow. */
const SLOW = 1 / 8;

/** What each connection of a blob brings, measured over so many milliseconds at a time. */
export class ConnectionRates {
  readonly #windowMs: number;
  #since = -Infinity;
  #best = 0;
  #bytes = new Map<Transfer, number>();

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  came(transfer: Transfer, bytes: number): void {
    const before = this.#bytes.get(transfer);
    if (before !== undefined) this.#bytes.set(transfer, before + bytes);
  }

  /**
   * Those that were slow all of the time that has just ended; none while it lasts. `present`: the
   * connections that are measured from now on.
   */
  look(now: number, present: () => readonly Transfer[]): readonly Transfer[] {
    if (now - this.#since < this.#windowMs) return [];
    this.#best = Math.max(this.#best, ...this.#bytes.values());
    const slow = [...this.#bytes].filter(([, bytes]) => bytes < this.#best * SLOW);
    this.#since = now;
    this.#bytes = new Map(present().map((transfer) => [transfer, 0]));
    return slow.map(([transfer]) => transfer);
  }
}
