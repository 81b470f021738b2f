import type { SyncProblem, SyncProgress, SyncReport } from '../src/api/sync-api.ts';
import { Bandwidth } from '../src/upstream/bandwidth.ts';
import { describeForLog, describeReleased } from './describe.ts';
import { makePlan } from './planner.ts';
import { surveyImages } from './readiness.ts';
import { reasonOf } from './resolver.ts';
import { PASSING_ANSWERS, Retries } from './retries.ts';
import { RunProgress } from './run-progress.ts';
import { Runner, isOneImage } from './runner.ts';
import type { SyncParts } from './parts.ts';

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

/** Sync runs, one at a time: each plans, fetches and ends with a report. */
export class SyncRuns {
  readonly #parts: SyncParts;
  readonly #cap: Bandwidth | undefined;
  #running: Running | undefined;

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

  /** Resolves when nothing runs. */
  async ended(): Promise<void> {
    await this.#running?.ended;
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
}
