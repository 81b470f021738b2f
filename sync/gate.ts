import type { Schedule } from './schedule.ts';

/** Nothing is fetched until then. */
export interface GateWait {
  /** Milliseconds since 1970; left out when no window opens any more. */
  readonly closedUntil?: number;
}

/**
 * Lets work through while a window is open. It is passed before each image and each blob: what is
 * on its way when the window closes comes to its end.
 */
export class Gate {
  readonly #schedule: Schedule;
  readonly #now: () => number;
  #waiting = 0;

  constructor(schedule: Schedule, now: () => number = Date.now) {
    this.#schedule = schedule;
    this.#now = now;
  }

  /** `undefined` while nobody waits. */
  get wait(): GateWait | undefined {
    if (this.#waiting === 0) return undefined;
    const change = this.#schedule.nextChange(this.#now());
    // It opened this very moment, and they are on their way.
    if (change?.opens === false) return undefined;
    return change ? { closedUntil: change.at } : {};
  }

  /** Resolves when a window is open; at once when there are none. Rejects when the signal aborts. */
  async passed(signal: AbortSignal): Promise<void> {
    this.#waiting += 1;
    try {
      await this.#schedule.opened(signal);
    } finally {
      this.#waiting -= 1;
    }
  }
}
