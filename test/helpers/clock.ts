import type { Clock as BothClocks } from '../../src/time/clock.ts';

/** Both clocks, which stand still until a test moves them. */
export class Clock implements BothClocks {
  #wall = Date.UTC(2030, 0, 1);
  #steady = 1;

  readonly wall = (): number => this.#wall;
  readonly steady = (): number => this.#steady;
  /** For the option `now` of a fake registry. */
  readonly now = this.wall;

  /** Time passes. */
  advance(milliseconds: number): void {
    this.#wall += milliseconds;
    this.#steady += milliseconds;
  }

  /** Somebody sets the clock; no time passes. */
  setBack(milliseconds: number): void {
    this.#wall -= milliseconds;
  }
}

/** Both clocks of a test that goes by moments of its own, the first of which is not 0. */
export function clockOf(now: () => number): BothClocks {
  return { wall: now, steady: now };
}

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
