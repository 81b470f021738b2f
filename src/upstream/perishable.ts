/** A value and how long it is good for, in milliseconds since 1970; without an end, until refused. */
export interface Dated<Value> {
  readonly value: Value;
  readonly expiresAt?: number | undefined;
}

/** Fetched anew when this share of its life is over, behind those who use it. */
const LIFE_SHARE = 0.8;
/** After a failed renewal, for as long as the old value is good. */
const RETRY_MS = 10_000;

/**
 * A value that ages, such as a token: fetched once however many wait for it, renewed ahead of its
 * end, one renewal at a time, and kept while it works when renewing fails.
 */
export class Perishable<Value> {
  readonly #fetch: () => Promise<Dated<Value>>;
  readonly #now: () => number;
  #held: (Dated<Value> & { readonly fetchedAt: number }) | undefined;
  #renewAt = Infinity;
  #fetching: Promise<Value> | undefined;

  constructor(fetch: () => Promise<Dated<Value>>, now: () => number) {
    this.#fetch = fetch;
    this.#now = now;
  }

  async get(): Promise<Value> {
    const held = this.#held;
    if (!held || this.#now() >= (held.expiresAt ?? Infinity)) return this.#renew();
    if (this.#now() >= this.#renewAt) {
      this.#renewAt = this.#now() + RETRY_MS;
      // Its failure shows when the old value ends.
      this.#renew().catch(() => undefined);
    }
    return held.value;
  }

  /** How long ago the value was fetched, milliseconds; `undefined` when it is not held. */
  ageOf(value: Value): number | undefined {
    return this.#held?.value === value ? this.#now() - this.#held.fetchedAt : undefined;
  }

  /** The value does not work any more: the next `get` fetches. */
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
    const { value, expiresAt } = await this.#fetch();
    const fetchedAt = this.#now();
    this.#held = { value, expiresAt, fetchedAt };
    this.#renewAt =
      expiresAt === undefined ? Infinity : fetchedAt + (expiresAt - fetchedAt) * LIFE_SHARE;
    return value;
  }
}
