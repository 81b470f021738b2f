import { LRUCache } from 'lru-cache';
import type { Clock } from '../time/clock.ts';

interface Puller {
  /** Counted pulls, as far as they have not come back yet. */
  used: number;
  /** A moment of the steady clock. */
  askedAt: number;
}

/** A client that has asked for nothing for so long gives way. */
const ASKING_MS = 5 * 60_000;
/** The least lately seen are forgotten. */
const MAX_CLIENTS = 10_000;

/**
 * Who has taken how many of the pulls that an upstream counts. While others ask, one client takes no
 * more than half of what was there for it; one that is alone may take all.
 */
export class PullShares {
  readonly #clock: Clock;
  readonly #pullers = new LRUCache<string, Puller>({ max: MAX_CLIENTS });
  #remaining: number | undefined;
  /** Pulls whose answer, with what remains after them, is still to come. */
  #pending = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Milliseconds until the client may pull, if nothing else changes; 0 when it may now.
   * `remaining`: of all accounts together, where it is known.
   */
  waitMs(client: string | undefined, remaining: number | undefined): number {
    if (client === undefined || remaining === undefined) return 0;
    this.#learn(remaining);
    const now = this.#clock.steady();
    const used = this.#pullers.peek(client)?.used ?? 0;
    if (used < remaining - this.#pending) return 0;
    let until = now;
    for (const [other, puller] of this.#pullers.entries()) {
      // Who has taken as much already is not the one to be protected.
      if (other !== client && puller.used < used)
        until = Math.max(until, puller.askedAt + ASKING_MS);
    }
    return until - now;
  }

  /** The client asks, whether or not it may. */
  asks(client: string | undefined): void {
    if (client === undefined) return;
    const used = this.#pullers.get(client)?.used ?? 0;
    this.#pullers.set(client, { used, askedAt: this.#clock.steady() });
  }

  /** The client pulls; the result is disposed of when the answer is here. */
  take(client: string | undefined): Disposable {
    const puller = client === undefined ? undefined : this.#pullers.peek(client);
    if (puller) puller.used += 1;
    this.#pending += 1;
    return {
      [Symbol.dispose]: () => {
        this.#pending -= 1;
      },
    };
  }

  /** Pulls that have come back since, in a new window or a sliding one, are nobody's any more. */
  #learn(remaining: number): void {
    const back = remaining - (this.#remaining ?? remaining);
    this.#remaining = remaining;
    if (back <= 0) return;
    let total = 0;
    for (const { used } of this.#pullers.values()) total += used;
    const left = Math.max(0, total - back) / Math.max(1, total);
    for (const puller of this.#pullers.values()) puller.used *= left;
  }
}
