import { Backoff } from '../src/time/backoff.ts';
import { surveyImages } from './readiness.ts';
import type { SyncRuns } from './runs.ts';
import type { SyncParts } from './parts.ts';

export interface SyncDaemonParts extends SyncParts {
  readonly runs: SyncRuns;
}

const LOOK_MS = 5 * 60_000;
/** Pauses before a run is repeated because an upstream could not be reached. */
const PAUSES = new Backoff({ firstMs: 60_000, maxMs: 60 * 60_000 });

/**
 * Begins runs by schedule, and at once when an earlier process was stopped in the middle of one.
 */
export class SyncDaemon {
  readonly #parts: SyncDaemonParts;
  #nextRunAt: number | undefined;
  #serving: Promise<void> = Promise.resolve();

  constructor(parts: SyncDaemonParts) {
    this.#parts = parts;
  }

  /** Milliseconds since 1970; `undefined` before `start`. */
  get nextRunAt(): number | undefined {
    return this.#nextRunAt;
  }

  start(): void {
    const { log, signal } = this.#parts;
    // Keeps the metrics true between runs: files may be removed by hand.
    const looking = setInterval(() => {
      surveyImages(this.#parts).catch((err: unknown) =>
        log.error({ err }, 'how ready the site is could not be told'),
      );
    }, LOOK_MS).unref();
    signal.addEventListener('abort', () => clearInterval(looking));
    this.#serving = this.#serve().catch((err: unknown) => {
      if (!signal.aborted) log.error({ err }, 'sync ended');
    });
  }

  /** Resolves after the signal has aborted. */
  async closed(): Promise<void> {
    await this.#serving;
  }

  async #serve(): Promise<void> {
    const { config, state, schedule, timer, signal } = this.#parts;
    const { isRunning, last } = state.current;
    if (isRunning || !last || !state.isOf(config)) await this.#runUntilReached();
    if (signal.aborted) return;
    this.#nextRunAt = schedule.nextRun(timer.wall());
    // A run that fell due while no process ran begins at once.
    for await (const _ of schedule.runs(signal, state.current.last?.startedAt)) {
      await this.#runUntilReached();
      this.#nextRunAt = schedule.nextRun(timer.wall());
    }
  }

  /**
   * Repeats a run that could not reach an upstream, after growing pauses, until the next one is
   * due.
   */
  async #runUntilReached(): Promise<void> {
    const { runs, schedule, timer, signal } = this.#parts;
    let isMissing = await runs.run();
    for (let failures = 1; isMissing; failures += 1) {
      const pauseMs = PAUSES.after(failures);
      const now = timer.wall();
      if (now + pauseMs >= schedule.nextRun(now)) return;
      this.#nextRunAt = now + pauseMs;
      await timer.wait(pauseMs, signal);
      isMissing = await runs.run();
    }
  }
}
