/** The two kinds of time; no moment of one is ever compared with a moment of the other. */
export interface Clock {
  /** Milliseconds since 1970, for what is written down or shown. Somebody may set it, also back. */
  wall(): number;
  /** Milliseconds from any point on, for what is waited for. Never goes back. */
  steady(): number;
}

export const SYSTEM_CLOCK: Clock = {
  wall: () => Date.now(),
  steady: () => performance.now(),
};

/**
 * Milliseconds since this moment of the wall clock. `undefined` for a moment that is still to come:
 * the clock has been set back since, and nothing is known of the age.
 */
export function ageOf(then: number, clock: Pick<Clock, 'wall'>): number | undefined {
  const age = clock.wall() - then;
  return age < 0 ? undefined : age;
}

/** Milliseconds until this moment of the wall clock; 0 when it is past. */
export function timeUntil(then: number, clock: Pick<Clock, 'wall'>): number {
  return Math.max(0, then - clock.wall());
}

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
