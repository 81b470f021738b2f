import { setTimeout as sleep } from 'node:timers/promises';
import type { Demand } from './demand.ts';

/** The clock that a cap is held by; milliseconds from any point on, never backwards. */
export interface Ticker {
  now(): number;
  sleep(ms: number): Promise<unknown>;
}

const REAL_TICKER: Ticker = { now: () => performance.now(), sleep: async (ms) => sleep(ms) };
/** The time for which an idle link may save up bytes. */
const BURST_MS = 100;

interface Waiting {
  readonly bytes: number;
  readonly demand: Demand;
  readonly resolve: () => void;
}

/** Caps the bytes a second of one upstream, over all its transfers, in the order of their priority. */
export class Bandwidth {
  readonly #bytesPerMs: number;
  readonly #ticker: Ticker;
  readonly #waiting = new Set<Waiting>();
  /** When all that was passed on so far has gone over the link at the capped rate. */
  #busyUntil = -Infinity;
  #isServing = false;
  #isClosed = false;

  constructor(bytesPerSecond: number, ticker = REAL_TICKER) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#ticker = ticker;
  }

  /**
   * Resolves when this many bytes, which have just come, may be passed on. When the demand's signal
   * aborts it resolves at once, and the bytes count for nothing.
   */
  async take(bytes: number, demand: Demand): Promise<void> {
    if (this.#isClosed || demand.signal?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = { bytes, demand, resolve };
    const leave = (): void => this.#let(waiting);
    this.#waiting.add(waiting);
    demand.signal?.addEventListener('abort', leave);
    if (!this.#isServing) void this.#serve();
    await promise;
    demand.signal?.removeEventListener('abort', leave);
  }

  /** Holds back nothing from now on. */
  close(): void {
    this.#isClosed = true;
    for (const waiting of this.#waiting) this.#let(waiting);
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    while (this.#waiting.size > 0) {
      const wait = this.#busyUntil - this.#ticker.now();
      if (wait > 0) await this.#ticker.sleep(wait);
      // Chosen after the pause, in which priorities may have changed.
      const next = this.#next();
      if (!next) break;
      const start = Math.max(this.#busyUntil, this.#ticker.now() - BURST_MS);
      this.#busyUntil = start + next.bytes / this.#bytesPerMs;
      this.#let(next);
    }
    this.#isServing = false;
  }

  #let(waiting: Waiting): void {
    this.#waiting.delete(waiting);
    waiting.resolve();
  }

  #next(): Waiting | undefined {
    let next: Waiting | undefined;
    for (const waiting of this.#waiting) {
      if (!next || waiting.demand.priority > next.demand.priority) next = waiting;
    }
    return next;
  }
}
