/**
 * Moments for pulls, in milliseconds since 1970 and in the order in which the pulls come. While the
 * wall clock stands before the last of them, as after it ran ahead or lost its battery, each new one
 * is a moment after the last: what was stamped by a clock that ran ahead is not youngest for ever.
 */
export class PullClock {
  #newest: number;

  constructor(newest: number) {
    this.#newest = newest;
  }

  /** The moment of a pull that happens now. */
  next(now: number): number {
    this.#newest = now < this.#newest ? this.#newest + 1 : now;
    return this.#newest;
  }

  /** A pull of the past that is only now recorded. */
  see(at: number): number {
    this.#newest = Math.max(this.#newest, at);
    return at;
  }
}
