import type { SyncProgress } from '../src/api/sync-api.ts';
import type { Pace } from './pace.ts';
import type { PlannedItem } from './planner.ts';

const WINDOW_MS = 10_000;

/** Counts what a run fetches, and holds it to its pace. */
export class Meter {
  readonly #pace: Pace | undefined;
  readonly #now: () => number;
  readonly #startedAt: number;
  readonly #recent: { at: number; bytes: number }[] = [];
  #images = { done: 0, failed: 0, total: 0 };
  #bytes = { done: 0, total: 0 };

  constructor(parts: { pace: Pace | undefined; now: () => number }) {
    this.#pace = parts.pace;
    this.#now = parts.now;
    this.#startedAt = parts.now();
  }

  get fetchedBytes(): number {
    return this.#bytes.done;
  }

  expect(items: readonly PlannedItem[]): void {
    // What several images lack is fetched once.
    const missing = new Map(
      items.flatMap(({ extent }) => extent.missing.map(({ digest, size }) => [digest, size])),
    );
    this.#images = { ...this.#images, total: items.length };
    this.#bytes = { ...this.#bytes, total: [...missing.values()].reduce((a, b) => a + b, 0) };
  }

  ended(isOk: boolean): void {
    const { done, failed, total } = this.#images;
    this.#images = { done: done + Number(isOk), failed: failed + Number(!isOk), total };
  }

  /** Bytes have come; resolves when they may go on. */
  async pass(bytes: number, signal: AbortSignal): Promise<void> {
    this.#bytes = { ...this.#bytes, done: this.#bytes.done + bytes };
    this.#recent.push({ at: this.#now(), bytes });
    await this.#pace?.take(bytes, signal);
  }

  describe(phase: SyncProgress['phase'], until?: number): SyncProgress {
    const now = this.#now();
    while ((this.#recent[0]?.at ?? now) < now - WINDOW_MS) this.#recent.shift();
    const seconds = Math.max(1, Math.min(WINDOW_MS, now - this.#startedAt) / 1000);
    const bytesPerSecond = this.#recent.reduce((sum, { bytes }) => sum + bytes, 0) / seconds;
    const left = this.#bytes.total - this.#bytes.done;
    return {
      startedAt: this.#startedAt,
      phase,
      ...(until !== undefined && { until }),
      images: this.#images,
      bytes: this.#bytes,
      bytesPerSecond: Math.round(bytesPerSecond),
      ...(bytesPerSecond > 0 && left >= 0 && { secondsLeft: Math.ceil(left / bytesPerSecond) }),
    };
  }
}
