import type { Clock } from '../src/time/clock.ts';

const SECONDS = 10;

/** Bytes a second over the last ten seconds: only the sums of single seconds are kept. */
export class ByteRate {
  readonly #clock: Pick<Clock, 'steady'>;
  readonly #startedAt: number;
  readonly #sums = new Map<number, number>();

  constructor(clock: Pick<Clock, 'steady'>) {
    this.#clock = clock;
    this.#startedAt = clock.steady();
  }

  /** The sums that are kept. */
  get size(): number {
    return this.#sums.size;
  }

  add(bytes: number): void {
    const second = this.#forgetOld();
    this.#sums.set(second, (this.#sums.get(second) ?? 0) + bytes);
  }

  get bytesPerSecond(): number {
    const first = (this.#forgetOld() - SECONDS + 1) * 1000;
    const seconds = (this.#elapsed - Math.max(0, first)) / 1000;
    const bytes = [...this.#sums.values()].reduce((sum, each) => sum + each, 0);
    return bytes / Math.max(1, seconds);
  }

  /** The second that runs now, counted from the beginning. */
  #forgetOld(): number {
    const second = Math.floor(this.#elapsed / 1000);
    for (const each of this.#sums.keys()) {
      if (each > second - SECONDS) break;
      this.#sums.delete(each);
    }
    return second;
  }

  get #elapsed(): number {
    return this.#clock.steady() - this.#startedAt;
  }
}
