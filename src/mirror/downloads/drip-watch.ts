import { MIN_BYTES_PER_SECOND } from '../../net/timing.ts';

/** Over so many stall limits the upstream must bring what the floor is: one long pause is no drip. */
const DRIP_STALLS = 2;

/** Sees whether an upstream brings next to nothing while it is waited for. */
export class DripWatch {
  readonly #overMs: number;
  readonly #dripped = Promise.withResolvers<void>();
  /** How long the upstream was waited for, and what came. */
  #waitedMs = 0;
  #came = 0;
  #waitingSince = 0;

  constructor(stallMs: number) {
    this.#overMs = DRIP_STALLS * stallMs;
  }

  /** Resolves once the upstream has brought less than the floor for a while. */
  get dripped(): Promise<void> {
    return this.#dripped.promise;
  }

  /** The upstream is waited for from now on. */
  wait(): void {
    this.#waitingSince = performance.now();
  }

  /** It was waited for until now, and these bytes came. */
  count(bytes: number): void {
    const now = performance.now();
    this.#waitedMs += now - this.#waitingSince;
    this.#waitingSince = now;
    this.#came += bytes;
    if (this.#waitedMs < this.#overMs) return;
    if (this.#came * 1000 < MIN_BYTES_PER_SECOND * this.#waitedMs) this.#dripped.resolve();
    this.#waitedMs = 0;
    this.#came = 0;
  }
}
