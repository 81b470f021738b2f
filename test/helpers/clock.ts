/** A clock that stands still until a test moves it. */
export class Clock {
  #now = Date.UTC(2030, 0, 1);

  /** For the option `now` of a mirror or a fake registry. */
  readonly now = (): number => this.#now;

  advance(milliseconds: number): void {
    this.#now += milliseconds;
  }
}

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
