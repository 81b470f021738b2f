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
/** The longest of the field, of Amazon: a moment further off is that of a clock that is wrong. */
const MAX_LIFE_MS = 12 * 3_600_000;
/** Of what is issued and has ended already, which is so too. */
const UNKNOWN_LIFE_MS = 10 * 60_000;

/**
 * A value that ages, such as a token: fetched once however many wait for it, renewed ahead of its
 * end, one renewal at a time, and kept while it works when renewing fails.
 */
export class ExpiringValue<Value> {
  readonly #fetch: () => Promise<Issued<Value>>;
  readonly #clock: Clock;
  /** Moments of the steady clock. */
  #held: { readonly value: Value; readonly fetchedAt: number; readonly endsAt: number } | undefined;
  #renewAt = Infinity;
  #fetching: Promise<Value> | undefined;

  constructor(fetch: () => Promise<Issued<Value>>, clock: Clock) {
    this.#fetch = fetch;
    this.#clock = clock;
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

  /** The value was refused: the next `get` fetches another one. */
  drop(value: Value): void {
    if (this.#held?.value === value) this.#held = undefined;
  }

  async #renew(): Promise<Value> {
    this.#fetching ??= this.#receive().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #receive(): Promise<Value> {
    const issued = await this.#fetch();
    const { value } = issued;
    const leftMs = this.#lifeOf(issued);
    const fetchedAt = this.#clock.steady();
    this.#held = { value, fetchedAt, endsAt: fetchedAt + leftMs };
    this.#renewAt = fetchedAt + leftMs * LIFE_SHARE;
    return value;
  }

  #lifeOf({ expiresAt, lifeMs }: Issued<Value>): number {
    if (expiresAt === undefined) return lifeMs ?? Infinity;
    const leftMs = timeUntil(expiresAt, this.#clock);
    return leftMs > 0 ? Math.min(leftMs, MAX_LIFE_MS) : (lifeMs ?? UNKNOWN_LIFE_MS);
  }
}
