import type { SyncProgress } from '../src/api/sync-api.ts';
import type { Clock } from '../src/time/clock.ts';
import { ByteRate } from './byte-rate.ts';
import { missingOf, type PlannedItem } from './planner.ts';

/** The images and bytes of a run, planned and done. */
export class RunProgress {
  readonly #startedAt: number;
  readonly #rate: ByteRate;
  readonly #images = { done: 0, failed: 0, total: 0 };
  readonly #bytes = { done: 0, total: 0 };

  constructor(clock: Clock) {
    this.#startedAt = clock.wall();
    this.#rate = new ByteRate(clock);
  }

  get fetchedBytes(): number {
    return this.#bytes.done;
  }

  /** Images of one more upstream. */
  expect(items: readonly PlannedItem[]): void {
    this.#images.total += items.length;
    this.#bytes.total += missingOf(items).bytes;
  }

  ended(isOk: boolean): void {
    this.#images[isOk ? 'done' : 'failed'] += 1;
  }

  fetched(bytes: number): void {
    this.#bytes.done += bytes;
    this.#rate.add(bytes);
  }

  describe(phase: SyncProgress['phase'], until?: number): SyncProgress {
    const { bytesPerSecond } = this.#rate;
    const left = this.#bytes.total - this.#bytes.done;
    return {
      startedAt: this.#startedAt,
      phase,
      ...(until !== undefined && { until }),
      images: { ...this.#images },
      bytes: { ...this.#bytes },
      bytesPerSecond: Math.round(bytesPerSecond),
      ...(bytesPerSecond > 0 && left >= 0 && { secondsLeft: Math.ceil(left / bytesPerSecond) }),
    };
  }
}
