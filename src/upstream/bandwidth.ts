import { setTimeout as sleep } from 'node:timers/promises';

/** The clock that a cap is held by; milliseconds from any point on, never backwards. */
export interface Ticker {
  now(): number;
  sleep(ms: number): Promise<unknown>;
}

const REAL_TICKER: Ticker = { now: () => performance.now(), sleep: async (ms) => sleep(ms) };
/** What an idle link may save up. */
const BURST_MS = 100;

interface Waiting {
  readonly bytes: number;
  readonly resolve: () => void;
}

/** Caps the bytes a second of one upstream, over all its transfers, interactive ones first. */
export class Bandwidth {
  readonly #bytesPerMs: number;
  readonly #ticker: Ticker;
  readonly #interactive: Waiting[] = [];
  readonly #background: Waiting[] = [];
  /** When everything let through so far has gone over the link at the capped rate. */
  #busyUntil = -Infinity;
  #isServing = false;

  constructor(bytesPerSecond: number, ticker = REAL_TICKER) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#ticker = ticker;
  }

  /** Resolves when this many bytes, which have just come, may be passed on. */
  async take(bytes: number, isBackground: boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    (isBackground ? this.#background : this.#interactive).push({ bytes, resolve });
    if (!this.#isServing) void this.#serve();
    return promise;
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    while (this.#interactive.length + this.#background.length > 0) {
      const wait = this.#busyUntil - this.#ticker.now();
      if (wait > 0) await this.#ticker.sleep(wait);
      // Chosen after the pause, in which an interactive one may have come.
      const next = this.#interactive.shift() ?? this.#background.shift();
      if (!next) break;
      const start = Math.max(this.#busyUntil, this.#ticker.now() - BURST_MS);
      this.#busyUntil = start + next.bytes / this.#bytesPerMs;
      next.resolve();
    }
    this.#isServing = false;
  }
}
