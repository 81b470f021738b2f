import type { SyncProgress, SyncReport } from '../src/api/sync-api.ts';
import { Bandwidth } from '../src/upstream/bandwidth.ts';
import { joinPlans, upstreamPlans } from './planner.ts';
import { surveyImages } from './readiness.ts';
import { errorMessage } from './resolver.ts';
import { RunProgress } from './run-progress.ts';
import { beginUpstreamWork, type UpstreamWork } from './upstream-work.ts';
import type { ImageScope } from './image-scope.ts';
import { describeForLog, NOTHING_DONE, resultOf, type RunResult } from './run-result.ts';
import { concludeRun } from './runner.ts';
import { splitTarget } from '../src/oci/reference.ts';
import { TEXTS } from './texts.ts';
import type { SyncParts } from './parts.ts';
import { Backoff } from '../src/time/backoff.ts';

interface Running {
  readonly progress: RunProgress;
  phase: 'planning' | 'fetching';
  readonly ended: Promise<void>;
  /** An upstream could not be reached and may be later. */
  isMissing: boolean;
  /** Of the selection it is about these alone. */
  readonly only?: ImageScope | undefined;
}

/** What a run goes by. */
export interface RunWish {
  readonly lock?: unknown;
  readonly only?: ImageScope | undefined;
}

/** Pauses before a run is repeated because an upstream could not be reached. */
const PAUSES = new Backoff({ firstMs: 60_000, maxMs: 60 * 60_000 });

/**
 * Sync runs, by schedule or asked for, one at a time: each plans, fetches and ends with a report. A
 * run lasts at most until the next one is due, unless it has nothing but one upstream's work.
 */
export class SyncRuns {
  readonly #parts: SyncParts;
  /** Absent: the first run may begin at once. */
  readonly #after: Promise<void> | undefined;
  /** Ends the schedule, and then the work that outlasts its run. */
  readonly #over = new AbortController();
  readonly #left = new AbortController();
  readonly #cap: Bandwidth | undefined;
  #running: Running | undefined;
  readonly #works = new Map<string, UpstreamWork>();
  #isServing = false;
  #nextRunAt: number | undefined;
  #serving: Promise<void> = Promise.resolve();

  /** `after`: what has to end before the first of them begins. */
  constructor(parts: SyncParts, after?: Promise<void>) {
    const { bytesPerSecond } = parts.config;
    this.#parts = { ...parts, signal: AbortSignal.any([parts.signal, this.#left.signal]) };
    this.#after = after;
    this.#measure();
    this.#cap = bytesPerSecond === undefined ? undefined : new Bandwidth(bytesPerSecond);
  }

  /** `undefined` while nothing runs. */
  get progress(): SyncProgress | undefined {
    if (!this.#running) return undefined;
    const { progress, phase, only } = this.#running;
    const { closed } = this.#parts.schedule;
    const told = closed
      ? progress.describe('waiting', closed.closedUntil)
      : progress.describe(phase);
    return { ...told, ...(only && { only: only.names }) };
  }

  /** Milliseconds since 1970; `undefined` before `start`. */
  get nextRunAt(): number | undefined {
    return this.#nextRunAt;
  }

  /**
   * Begins no run any more, and resolves when nothing runs. A run under way comes to its end; what
   * outlasts it stops, and what it has of each file is kept.
   */
  async leave({ isAtOnce = false } = {}): Promise<void> {
    const isWaiting = this.#parts.schedule.closed !== undefined;
    this.#over.abort();
    if (!isAtOnce && !isWaiting) await this.#running?.ended;
    this.#left.abort(new Error(TEXTS.stopping));
    await this.closed();
  }

  /** Resolves, after the signal has aborted, when nothing runs. */
  async closed(): Promise<void> {
    await this.#after;
    await this.#serving;
    await this.#running?.ended;
    await Promise.allSettled([...this.#works.values()].map(({ made }) => made));
  }

  /** Runs by schedule from now on, and at once when an earlier process was stopped in the middle. */
  start(): void {
    const { log, signal } = this.#parts;
    this.#isServing = true;
    this.#serving = this.#serve().catch((err: unknown) => {
      if (!signal.aborted && !this.#over.signal.aborted) log.error({ err }, 'sync ended');
    });
  }

  /** Runs, or waits for the end of the current run, unless that is about a few images. */
  async run({ lock, only }: RunWish = {}): Promise<void> {
    while (this.#running) {
      const { ended, only: isOfSome } = this.#running;
      if (!isOfSome) return ended;
      await ended;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const progress = new RunProgress(this.#parts.timer);
    const ended = promise;
    const running: Running = { progress, phase: 'planning', ended, isMissing: false, only };
    this.#running = running;
    try {
      await (only ? this.#carryOutSome(running, only, lock) : this.#carryOut(running, lock));
    } catch (err) {
      this.#parts.log.error({ err }, 'a sync run could not be brought to its end');
    } finally {
      this.#running = undefined;
      resolve();
    }
  }

  async #carryOut(running: Running, lock: unknown): Promise<void> {
    const { log, state, timer, signal } = this.#parts;
    if (this.#after) await this.#after;
    // Other rules count by now.
    if (this.#over.signal.aborted) return;
    const began = timer.steady();
    await state.update({ isRunning: true });
    const work = async (): Promise<RunResult> => this.#planAndFetch(running, lock);
    const report = await this.#attempt(running, work);
    const isInterrupted = signal.aborted;
    const seconds = (timer.steady() - began) / 1000;
    await state.update({
      last: report,
      ...(report.isOk && { succeededAt: report.endedAt }),
      misses: running.isMissing ? state.current.misses + 1 : 0,
      isRunning: isInterrupted || this.#works.size > 0,
      ...(report.bytes > 0 && seconds > 0 && { bytesPerSecond: report.bytes / seconds }),
    });
    log.info(describeForLog(report), 'sync run');
    this.#count(report);
    this.#measure();
    if (!isInterrupted) await surveyImages(this.#parts);
  }

  #count(report: SyncReport): void {
    const { sync } = this.#parts.metrics;
    sync.failures.inc(report.failures.length);
    const ended = report.aborted === undefined ? 'failed' : 'aborted';
    sync.runs.inc({ result: report.isOk ? 'ok' : ended });
  }

  /** As a run of all, but that it is none: it tells nothing of when the last of those was. */
  async #carryOutSome(running: Running, only: ImageScope, lock: unknown): Promise<void> {
    const { log, state, signal } = this.#parts;
    if (this.#after) await this.#after;
    if (this.#over.signal.aborted) return;
    const work = async (): Promise<RunResult> => this.#fetchSome(running, only, lock);
    const report = { ...(await this.#attempt(running, work)), only: only.names };
    state.lastOfSome = report;
    log.info(describeForLog(report), 'sync run of some images');
    this.#count(report);
    if (!signal.aborted) await surveyImages(this.#parts);
  }

  /** At a server it lasts no longer than until the next run of all is due. */
  async #fetchSome(running: Running, only: ImageScope, lock: unknown): Promise<RunResult> {
    const { schedule, timer, signal: ended } = this.#parts;
    const [due, over] = [new AbortController(), new AbortController()];
    if (this.#isServing) {
      const isOver = AbortSignal.any([ended, over.signal]);
      const next = schedule.nextStart(timer.wall(), isOver);
      void next.then((at) => at !== undefined && due.abort(new Error(TEXTS.nextIsDue)));
    }
    const parts = { ...this.#parts, signal: AbortSignal.any([ended, due.signal]) };
    const works = [...upstreamPlans(parts, lock, only)].map(([upstream, make]) =>
      this.#begin(upstream, make, { ...parts, only }),
    );
    for (const { progress } of works) progress.passOn(running.progress);
    const ends = await Promise.allSettled(works.map(async ({ made }) => made));
    over.abort();
    const plan = await joinPlans(parts, ends, { isLocked: lock !== undefined, only });
    const done = ends.flatMap((end) => (end.status === 'fulfilled' ? end.value.done : []));
    const outcome = await concludeRun(parts, plan, done);
    const told = [...plan.problems, ...outcome.failures];
    const found = new Set([...plan.items.map(({ wanted }) => wanted), ...plan.failed]);
    const leftOut = only
      .without([...found])
      .filter((image) => !told.some((problem) => problem.image === image))
      .map((image) => ({ rule: '', image, reason: TEXTS.scopeLeftOut }));
    return resultOf(outcome, [...told, ...leftOut]);
  }

  /** Tells the last run, be it of an earlier process, to the metrics. */
  #measure(): void {
    const { metrics, state } = this.#parts;
    const { last, succeededAt } = state.current;
    if (succeededAt !== undefined) metrics.sync.lastSuccess.set(succeededAt / 1000);
    if (!last) return;
    metrics.sync.lastRunOk.set(last.isOk ? 1 : 0);
    metrics.sync.lastRunEnd.set(last.endedAt / 1000);
    metrics.sync.lastRunBytes.set(last.bytes);
    metrics.sync.lastRunSeconds.set((last.endedAt - last.startedAt) / 1000);
  }

  /** Never rejects: a run that failed has a report too. */
  async #attempt(running: Running, work: () => Promise<RunResult>): Promise<SyncReport> {
    const { timer } = this.#parts;
    const startedAt = timer.wall();
    const { failures, released, ...rest } = await work().catch((error: unknown): RunResult => ({
      ...NOTHING_DONE,
      aborted: errorMessage(error),
    }));
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
    const { config } = this.#parts;
    // What has ended since the last run is asked about anew.
    for (const { upstream, end } of this.#works.values()) if (end) this.#works.delete(upstream);
    // Work that goes by the rules ends before a lock is replayed.
    if (lock !== undefined) {
      await Promise.allSettled([...this.#works.values()].map(({ made }) => made));
      this.#works.clear();
    }
    for (const [upstream, make] of upstreamPlans(this.#parts, lock)) {
      if (!this.#works.has(upstream)) this.#works.set(upstream, this.#begin(upstream, make));
    }
    const works = [...this.#works.values()];
    for (const { progress } of works) progress.passOn(running.progress);
    await this.#settled(works);
    const ended = works.filter(({ end }) => end !== undefined);
    for (const { upstream } of ended) this.#works.delete(upstream);
    running.isMissing = ended.some(({ isMissing }) => isMissing);
    const open = new Set(this.#works.keys());
    const ends = ended.flatMap(({ end }) => end ?? []);
    const plan = await joinPlans(this.#parts, ends, { isLocked: lock !== undefined, open });
    const done = ends.flatMap((end) => (end.status === 'fulfilled' ? end.value.done : []));
    const outcome = await concludeRun(this.#parts, plan, done);
    const underWay = config.rules
      .filter(({ image }) => open.has(splitTarget(image).upstream))
      .map(({ path, image }) => ({ rule: path, image, reason: TEXTS.underWay }));
    return resultOf(outcome, [...plan.problems, ...outcome.failures, ...underWay]);
  }

  #begin(
    upstream: string,
    make: Parameters<typeof beginUpstreamWork>[1],
    parts: SyncParts & Pick<RunWish, 'only'> = this.#parts,
  ): UpstreamWork {
    const planned = (): void => {
      if (this.#running) this.#running.phase = 'fetching';
    };
    return beginUpstreamWork(upstream, make, { ...parts, cap: this.#cap, planned });
  }

  /**
   * Resolves once all of it has ended; at a server also when the next run is due and some has, so
   * that an upstream which takes for ever holds up no run of the others.
   */
  async #settled(works: readonly UpstreamWork[]): Promise<void> {
    const { schedule, timer, signal } = this.#parts;
    const ends = works.map(async ({ made }) => Promise.allSettled([made]));
    const all = Promise.all(ends);
    if (!this.#isServing || works.length < 2) {
      await all;
      return;
    }
    const over = new AbortController();
    const due = async (): Promise<void> => {
      const startedAt = timer.wall();
      await Promise.race(ends);
      const isDue = await schedule.nextStart(startedAt, AbortSignal.any([signal, over.signal]));
      if (isDue === undefined) await all;
    };
    await Promise.race([all, due()]);
    over.abort();
  }

  async #serve(): Promise<void> {
    const { config, state, schedule, timer } = this.#parts;
    const signal = AbortSignal.any([this.#parts.signal, this.#over.signal]);
    const isOver = (): boolean => signal.aborted;
    if (this.#after) await this.#after;
    if (isOver()) return;
    const { isRunning, last } = state.current;
    if (isRunning || !last || !state.isOf(config)) await this.run();
    await this.#repeat(signal);
    if (isOver()) return;
    this.#nextRunAt = schedule.nextRun(timer.wall());
    // A run that fell due while no process ran begins at once.
    for await (const _ of schedule.runs(signal, state.current.last?.startedAt)) {
      await this.run();
      await this.#repeat(signal);
      this.#nextRunAt = schedule.nextRun(timer.wall());
    }
  }

  /**
   * Repeats a run that could not reach an upstream, be it one of an earlier process, after growing
   * pauses from its end on, until the next one is due.
   */
  async #repeat(signal: AbortSignal): Promise<void> {
    const { schedule, state, timer } = this.#parts;
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
