import type { SyncProblem, SyncProgress, SyncReport, ReleasedImage } from '../src/api/sync-api.ts';
import { Bandwidth } from '../src/upstream/bandwidth.ts';
import { makePlan } from './planner.ts';
import { surveyImages } from './readiness.ts';
import { reasonOf } from './resolver.ts';
import { PASSING_ANSWERS, Retries } from './retries.ts';
import { RunProgress } from './run-progress.ts';
import { Runner, isOneImage } from './runner.ts';
import type { SyncParts } from './parts.ts';
import { Backoff } from '../src/time/backoff.ts';
import { describeReleased } from './deselected-image.ts';

interface Running {
  readonly progress: RunProgress;
  phase: 'planning' | 'fetching';
  readonly ended: Promise<void>;
  /** An upstream could not be reached and may be later. */
  isMissing: boolean;
}

type RunResult = Pick<SyncReport, 'images' | 'failures' | 'released' | 'aborted'>;

const NOTHING_DONE: RunResult = {
  images: { fetched: 0, kept: 0, failed: 0 },
  failures: [],
  released: [],
};

const LOOK_MS = 5 * 60_000;
/** Pauses before a run is repeated because an upstream could not be reached. */
const PAUSES = new Backoff({ firstMs: 60_000, maxMs: 60 * 60_000 });

/** Sync runs, by schedule or asked for, one at a time: each plans, fetches and ends with a report. */
export class SyncRuns {
  readonly #parts: SyncParts;
  readonly #cap: Bandwidth | undefined;
  #running: Running | undefined;
  #nextRunAt: number | undefined;
  #serving: Promise<void> = Promise.resolve();

  constructor(parts: SyncParts) {
    const { bytesPerSecond } = parts.config;
    this.#parts = parts;
    this.#cap = bytesPerSecond === undefined ? undefined : new Bandwidth(bytesPerSecond);
  }

  /** `undefined` while nothing runs. */
  get progress(): SyncProgress | undefined {
    if (!this.#running) return undefined;
    const { progress, phase } = this.#running;
    const { closed } = this.#parts.schedule;
    return closed ? progress.describe('waiting', closed.closedUntil) : progress.describe(phase);
  }

  /** Milliseconds since 1970; `undefined` before `start`. */
  get nextRunAt(): number | undefined {
    return this.#nextRunAt;
  }

  /** Resolves, after the signal has aborted, when nothing runs. */
  async closed(): Promise<void> {
    await this.#serving;
    await this.#running?.ended;
  }

  /** Runs by schedule from now on, and at once when an earlier process was stopped in the middle. */
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

  /**
   * Runs, or waits for the end of the current run. True when an upstream could not be reached and
   * may be later.
   */
  async run(lock?: unknown): Promise<boolean> {
    if (this.#running) {
      await this.#running.ended;
      return false;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const progress = new RunProgress(this.#parts.timer);
    const running: Running = { progress, phase: 'planning', ended: promise, isMissing: false };
    this.#running = running;
    try {
      await this.#carryOut(running, lock);
    } catch (err) {
      this.#parts.log.error({ err }, 'a sync run could not be brought to its end');
    } finally {
      this.#running = undefined;
      resolve();
    }
    return running.isMissing;
  }

  async #carryOut(running: Running, lock: unknown): Promise<void> {
    const { log, metrics, state, timer, signal } = this.#parts;
    const began = timer.steady();
    await state.update({ isRunning: true });
    const report = await this.#attempt(running, lock);
    const isInterrupted = signal.aborted;
    const seconds = (timer.steady() - began) / 1000;
    await state.update({
      last: report,
      isRunning: isInterrupted,
      ...(report.bytes > 0 && seconds > 0 && { bytesPerSecond: report.bytes / seconds }),
    });
    log.info(describeForLog(report), 'sync run');
    metrics.syncLastRunBytes.set(report.bytes);
    metrics.syncLastRunSeconds.set(seconds);
    metrics.syncFailures.inc(report.failures.length);
    if (report.isOk) metrics.syncLastSuccess.set(report.endedAt / 1000);
    if (!isInterrupted) await surveyImages(this.#parts);
  }

  /** Never rejects: a run that failed has a report too. */
  async #attempt(running: Running, lock: unknown): Promise<SyncReport> {
    const { timer } = this.#parts;
    const startedAt = timer.wall();
    const { failures, released, ...rest } = await this.#planAndFetch(running, lock).catch(
      (error: unknown): RunResult => ({ ...NOTHING_DONE, aborted: reasonOf(error) }),
    );
    return {
      startedAt,
      bytes: running.progress.fetchedBytes,
      failures,
      released,
      endedAt: timer.wall(),
      isOk: failures.length === 0 && rest.aborted === undefined,
      ...rest,
    };
  }

  async #planAndFetch(running: Running, lock: unknown): Promise<RunResult> {
    const { timer, signal } = this.#parts;
    const gaveUp = (): void => {
      running.isMissing = true;
    };
    // An upstream that cannot be reached keeps no other one waiting: the next run asks it again.
    const retries = new Retries({ timer, signal, faults: PASSING_ANSWERS, gaveUp });
    const { progress } = running;
    const runner = new Runner({ ...this.#parts, progress, cap: this.#cap, gaveUp });
    const plan = await makePlan(this.#parts, lock, {
      retries,
      planned: async (each) => {
        running.phase = 'fetching';
        await runner.fetch(each);
      },
    });
    const { fetched, kept, failures, deselected } = await runner.conclude(plan);
    const all: SyncProblem[] = [...plan.problems, ...failures];
    const failed = new Set(all.map(({ image }) => image).filter(isOneImage)).size;
    return {
      images: { fetched, kept, failed },
      failures: all,
      released: deselected.map(describeReleased),
    };
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
    const { schedule, timer, signal } = this.#parts;
    let isMissing = await this.run();
    for (let failures = 1; isMissing; failures += 1) {
      const pauseMs = PAUSES.after(failures);
      const now = timer.wall();
      if (now + pauseMs >= schedule.nextRun(now)) return;
      this.#nextRunAt = now + pauseMs;
      await timer.wait(pauseMs, signal);
      isMissing = await this.run();
    }
  }
}

/** A report as one line of the log tells it: numbers for lists, times as people read them. */
function describeForLog(report: SyncReport): object {
  const { startedAt, endedAt, failures, released, ...rest } = report;
  const count = (wanted: ReleasedImage['action']): number =>
    released.filter(({ action }) => action === wanted).length;
  return {
    startedAt: new Date(startedAt).toISOString(),
    endedAt: new Date(endedAt).toISOString(),
    ...rest,
    failures: failures.length,
    released: count('release'),
    guarded: count('guarded'),
  };
}
