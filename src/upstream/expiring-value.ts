import { setTimeout as sleep } from 'node:timers/promises';
import { timeUntil, type Clock } from '../time/clock.ts';

/** A value and how long it is good for; without an end, until it is refused. */
export interface Issued<Value> {
  readonly value: Value;
  /** Milliseconds from now on. */
  readonly lifeMs?: number | undefined;
  /** Where the issuer names the moment, milliseconds since 1970; counts before `lifeMs`. */
  readonly expiresAt?: number | undefined;
}

/** The value is renewed in the background after this share of its life. */
const LIFE_SHARE = 0.8;
/** A renewal that failed is repeated after this time, while the old value is good. */
const RETRY_MS = 10_000;
/** The longest of the field, Amazon's: who says more has a wrong clock, or is mistaken. */
const MAX_LIFE_MS = 12 * 3_600_000;
/** How long a credential counts whose end is not told, or is past already. */
const UNKNOWN_LIFE_MS = 10 * 60_000;

export interface ExpiringValueParts<Value> {
  readonly fetch: (signal: AbortSignal) => Promise<Issued<Value>>;
  readonly clock: Clock;
  /** How long a fetch may be silent before there is another one; without it there is none. */
  readonly patienceMs?: number | undefined;
}

/**
 * A value that ages, such as a token: fetched once however many wait for it, renewed ahead of its
 * end, one renewal at a time, and kept while it works when renewing fails. Of a fetch that is silent
 * past the patience, all who wait share one new fetch beside it, and no third.
 */
export class ExpiringValue<Value> {
  readonly #fetch: ExpiringValueParts<Value>['fetch'];
  readonly #clock: Clock;
  readonly #patienceMs: number | undefined;
  /** Moments of the steady clock. */
  #held: { readonly value: Value; readonly fetchedAt: number; readonly endsAt: number } | undefined;
  #renewAt = Infinity;
  #fetching: Promise<Value> | undefined;

  constructor({ fetch, clock, patienceMs }: ExpiringValueParts<Value>) {
    this.#fetch = fetch;
    this.#clock = clock;
    this.#patienceMs = patienceMs;
  }

  async get(): Promise<Value> {
    const now = this.#clock.steady();
    const held = this.#held;
    if (!held || now >= held.endsAt) return this.#renew();
    if (now >= this.#renewAt) {
      this.#renewAt = now + RETRY_MS;
      // A failure is reported by the fetch after the old value's end.
      this.#renew().catch(() => undefined);
    }
    return held.value;
  }

  /** How long ago the value was fetched, milliseconds; `undefined` when it is not held. */
  ageOf(value: Value): number | undefined {
    return this.#held?.value === value ? this.#clock.steady() - this.#held.fetchedAt : undefined;
  }

  /** The value was refused, or whatever is held counts no more: the next `get` fetches another one. */
  drop(value?: Value): void {
    if (value === undefined || this.#held?.value === value) this.#held = undefined;
  }

  async #renew(): Promise<Value> {
    this.#fetching ??= this.#receive().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #receive(): Promise<Value> {
    const issued = await this.#ask();
    const { value } = issued;
    const leftMs = this.#lifeOf(issued);
    const fetchedAt = this.#clock.steady();
    this.#held = { value, fetchedAt, endsAt: fetchedAt + leftMs };
    this.#renewAt = fetchedAt + leftMs * LIFE_SHARE;
    return value;
  }

  /** What the first fetch brings, or, once it was silent for too long, what the second one does. */
  async #ask(): Promise<Issued<Value>> {
    const over = new AbortController();
    const { signal } = over;
    let second: Promise<Issued<Value>> | undefined;
    const begin = async (): Promise<Issued<Value>> => {
      await sleep(this.#patienceMs, undefined, { signal });
      second = this.#fetch(signal);
      return second;
    };
    const first = this.#fetch(signal).catch((error: unknown) => {
      if (second) return second;
      throw error;
    });
    try {
      return await (this.#patienceMs === undefined ? first : Promise.race([first, begin()]));
    } finally {
      over.abort();
    }
  }

  /** 12 hours at most; a value without an end is good until it is refused. */
  #lifeOf({ expiresAt, lifeMs }: Issued<Value>): number {
    if (expiresAt === undefined && lifeMs === undefined) return Infinity;
    const leftMs = expiresAt === undefined ? 0 : timeUntil(expiresAt, this.#clock);
    return Math.min(leftMs > 0 ? leftMs : (lifeMs ?? UNKNOWN_LIFE_MS), MAX_LIFE_MS);
  }
}
