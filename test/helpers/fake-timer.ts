import { setImmediate } from 'node:timers/promises';
import type { Timer } from '../../sync/schedule.ts';
import type { Clock } from '../../src/time/clock.ts';
import type { Ticker } from '../../src/upstream/bandwidth.ts';

interface Wait {
  readonly until: number;
  readonly resolve: () => void;
}

/** A clock whose waits end when a test lets the time pass, each at its own moment and in order. */
export class FakeTimer implements Timer, Ticker, Clock {
  readonly #waits = new Set<Wait>();
  readonly #chances: number[] = [];
  readonly #watchers = new Set<() => void>();
  #elapsed = 0;
  #start: number;

  constructor(start: number | string = 0) {
    this.#start = new Date(start).getTime();
  }

  readonly now = (): number => this.#start + this.#elapsed;
  readonly wall = this.now;
  readonly steady = (): number => 1 + this.#elapsed;

  /** How many wait now. */
  get waiting(): number {
    return this.#waits.size;
  }

  /** Resolves once so many wait. */
  async waited(count = 1): Promise<void> {
    while (this.#waits.size < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#watchers.add(resolve);
      await promise;
    }
  }

  async wait(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const wait = { until: this.#elapsed + ms, resolve };
    const abort = (): void => reject(signal?.reason);
    this.#waits.add(wait);
    for (const wake of this.#watchers) wake();
    this.#watchers.clear();
    signal?.addEventListener('abort', abort);
    try {
      await promise;
    } finally {
      this.#waits.delete(wait);
      signal?.removeEventListener('abort', abort);
    }
  }

  async sleep(ms: number): Promise<void> {
    return this.wait(ms);
  }

  /** What `random` gives next, in turn; then 0. */
  chances(...chances: number[]): void {
    this.#chances.push(...chances);
  }

  random(): number {
    return this.#chances.shift() ?? 0;
  }

  async advance(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    await setImmediate();
    for (;;) {
      const [next] = [...this.#waits].toSorted((one, other) => one.until - other.until);
      if (!next || next.until > end) break;
      this.#elapsed = Math.max(this.#elapsed, next.until);
      this.#waits.delete(next);
      next.resolve();
      await setImmediate();
    }
    this.#elapsed = end;
  }

  async advanceTo(moment: string): Promise<void> {
    await this.advance(Date.parse(moment) - this.now());
  }

  /** Somebody sets the clock; no time passes. */
  set(moment: string): void {
    this.#start = Date.parse(moment) - this.#elapsed;
  }
}
