import type { SyncProgress } from '../src/api/sync-api.ts';
import type { Clock } from '../src/time/clock.ts';
import { missingOf, type PlannedItem } from './planner.ts';

/** The images and bytes of a run, or of its work at one upstream, planned and done. */
export class RunProgress {
  /** On the wall clock. */
  readonly startedAt: number;
  readonly #rate: ByteRate;
  readonly #images = { done: 0, failed: 0, total: 0 };
  readonly #bytes = { done: 0, total: 0 };
  #run: RunProgress | undefined;

  constructor(clock: Clock) {
    this.startedAt = clock.wall();
    this.#rate = new ByteRate(clock);
  }

  get fetchedBytes(): number {
    return this.#bytes.done;
  }

  /** What is left counts in this run from now on, and in no earlier one. */
  passOn(run: RunProgress): void {
    this.#run = run;
    const { total, done, failed } = this.#images;
    run.#images.total += total - done - failed;
    run.#bytes.total += Math.max(0, this.#bytes.total - this.#bytes.done);
  }

  /** Images of one more upstream. */
  expect(items: readonly Pick<PlannedItem, 'files'>[]): void {
    this.#run?.expect(items);
    this.#images.total += items.length;
    this.#bytes.total += missingOf(items).bytes;
  }

  ended(isOk: boolean): void {
    this.#run?.ended(isOk);
    this.#images[isOk ? 'done' : 'failed'] += 1;
  }

  fetched(bytes: number): void {
    this.#run?.fetched(bytes);
    this.#bytes.done += bytes;
    this.#rate.add(bytes);
  }

  describe(phase: SyncProgress['phase'], until?: number): SyncProgress {
    const { bytesPerSecond } = this.#rate;
    const left = this.#bytes.total - this.#bytes.done;
    return {
      startedAt: this.startedAt,
      phase,
      ...(until !== undefined && { until }),
      images: { ...this.#images },
      bytes: { ...this.#bytes },
      bytesPerSecond: Math.round(bytesPerSecond),
      ...(bytesPerSecond > 0 && left >= 0 && { secondsLeft: Math.ceil(left / bytesPerSecond) }),
    };
  }
}

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
