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
/** A chunk is paid for in parts that take this long, so that transfers alternate by bytes. */
const PART_MS = 50;

interface WaitingChunk {
  /** Bytes that are not paid for yet. */
  left: number;
  readonly demand: Demand;
  readonly resolve: () => void;
}

/** Caps the bytes a second of some transfers together, in the order of their priority. */
export class Bandwidth {
  readonly #bytesPerMs: number;
  readonly #partBytes: number;
  readonly #ticker: Ticker;
  readonly #waiting = new Set<WaitingChunk>();
  /** When all that was passed on so far has gone over the link at the capped rate. */
  #busyUntil = -Infinity;
  #isServing = false;
  #isClosed = false;

  constructor(bytesPerSecond: number, ticker = REAL_TICKER) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#partBytes = Math.max(1, Math.floor(this.#bytesPerMs * PART_MS));
    this.#ticker = ticker;
  }

  /**
   * Resolves when this many bytes, which have just come, may be passed on. When the demand's signal
   * aborts it resolves at once, and what was not paid for yet counts for nothing.
   */
  async take(bytes: number, demand: Demand): Promise<void> {
    if (this.#isClosed || demand.signal?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const chunk = { left: bytes, demand, resolve };
    const leave = (): void => this.#let(chunk);
    this.#waiting.add(chunk);
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
      const part = Math.min(next.left, this.#partBytes);
      next.left -= part;
      const start = Math.max(this.#busyUntil, this.#ticker.now() - BURST_MS);
      this.#busyUntil = start + part / this.#bytesPerMs;
      this.#waiting.delete(next);
      if (next.left > 0) this.#waiting.add(next);
      else this.#let(next);
    }
    this.#isServing = false;
  }

  #let(waiting: WaitingChunk): void {
    this.#waiting.delete(waiting);
    waiting.resolve();
  }

  #next(): WaitingChunk | undefined {
    let next: WaitingChunk | undefined;
    for (const waiting of this.#waiting) {
      if (!next || waiting.demand.priority > next.demand.priority) next = waiting;
    }
    return next;
  }
}
