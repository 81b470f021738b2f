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
    this.#measure();
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
    this.#serving = this.#serve().catch((err: unknown) => {
      if (!signal.aborted) log.error({ err }, 'sync ended');
    });
  }

  /** Runs, or waits for the end of the current run. */
  async run(lock?: unknown): Promise<void> {
    if (this.#running) return this.#running.ended;
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
  }

  async #carryOut(running: Running, lock: unknown): Promise<void> {
    const { log, state, timer, signal } = this.#parts;
    const began = timer.steady();
    await state.update({ isRunning: true });
    const report = await this.#attempt(running, lock);
    const isInterrupted = signal.aborted;
    const seconds = (timer.steady() - began) / 1000;
    await state.update({
      last: report,
      ...(report.isOk && { succeededAt: report.endedAt }),
      misses: running.isMissing ? state.current.misses + 1 : 0,
      isRunning: isInterrupted,
      ...(report.bytes > 0 && seconds > 0 && { bytesPerSecond: report.bytes / seconds }),
    });
    log.info(describeForLog(report), 'sync run');
    this.#parts.metrics.syncFailures.inc(report.failures.length);
    this.#measure();
    if (!isInterrupted) await surveyImages(this.#parts);
  }

  /** Tells the last run, be it of an earlier process, to the metrics. */
  #measure(): void {
    const { metrics, state } = this.#parts;
    const { last, succeededAt } = state.current;
    if (succeededAt !== undefined) metrics.syncLastSuccess.set(succeededAt / 1000);
    if (!last) return;
    metrics.syncLastRunBytes.set(last.bytes);
    metrics.syncLastRunSeconds.set((last.endedAt - last.startedAt) / 1000);
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
    if (isRunning || !last || !state.isOf(config)) await this.run();
    await this.#repeat();
    if (signal.aborted) return;
    this.#nextRunAt = schedule.nextRun(timer.wall());
    // A run that fell due while no process ran begins at once.
    for await (const _ of schedule.runs(signal, state.current.last?.startedAt)) {
      await this.run();
      await this.#repeat();
      this.#nextRunAt = schedule.nextRun(timer.wall());
    }
  }

  /**
   * Repeats a run that could not reach an upstream, be it one of an earlier process, after growing
   * pauses from its end on, until the next one is due.
   */
  async #repeat(): Promise<void> {
    const { schedule, state, timer, signal } = this.#parts;
    for (;;) {
      const { last, misses } = state.current;
      if (signal.aborted || !last || misses === 0) return;
      const at = last.endedAt + PAUSES.after(misses);
      if (at >= schedule.nextRun(last.endedAt)) return;
      const pauseMs = Math.min(at - timer.wall(), PAUSES.after(misses));
      this.#nextRunAt = timer.wall() + Math.max(0, pauseMs);
      if (pauseMs > 0) await timer.wait(pauseMs, signal);
      await this.run();
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
