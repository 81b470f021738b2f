import type { Pins } from './pins.ts';

/** Pulls end and images age: after that it is worth another look. */
const COUNTS_MS = 5_000;

/**
 * What could be freed when it was last not enough. A walk over everything that is pinned is not
 * worth repeating for each download.
 */
export class Futility {
  readonly #pins: Pins;
  #last = { freeable: 0, version: -1, until: 0 };

  constructor(pins: Pins) {
    this.#pins = pins;
  }

  /** `undefined` when it is not known, or too old to count. */
  get freeableBytes(): number | undefined {
    const { freeable, version, until } = this.#last;
    return version === this.#pins.version && performance.now() < until ? freeable : undefined;
  }

  note(freeable: number, forMs = COUNTS_MS): void {
    this.#last = { freeable, version: this.#pins.version, until: performance.now() + forMs };
  }
}
