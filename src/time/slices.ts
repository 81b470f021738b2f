import { setImmediate as nextTurn } from 'node:timers/promises';
import { SYSTEM_CLOCK, type Clock } from './clock.ts';

export interface SlicesOptions {
  readonly clock?: Pick<Clock, 'steady'>;
  /** Resolves when everything else that is due has had its turn. */
  readonly turn?: () => Promise<unknown>;
}

/** Small beside what a client notices, and large beside what a turn of the event loop costs. */
const SLICE_MS = 5;

/**
 * Long work of many steps, in slices of 5 ms: most steps find what they read in memory, and would keep
 * the event loop to themselves for as long as that is so. Bounded by time, since a step takes longer on a
 * slow machine and with a large image.
 */
export class Slices {
  readonly #clock: Pick<Clock, 'steady'>;
  readonly #turn: () => Promise<unknown>;
  /** On the steady clock. */
  #until: number;

  constructor({ clock = SYSTEM_CLOCK, turn = nextTurn }: SlicesOptions = {}) {
    this.#clock = clock;
    this.#turn = turn;
    this.#until = clock.steady() + SLICE_MS;
  }

  /** To be awaited between two steps: gives the event loop back when the slice is over. */
  async step(): Promise<void> {
    if (this.#clock.steady() < this.#until) return;
    await this.#turn();
    this.#until = this.#clock.steady() + SLICE_MS;
  }
}
