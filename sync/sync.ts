import type { SyncConfig } from '../src/config/sync-config.ts';
import type {
  SyncApi,
  SyncImage,
  SyncPlan,
  SyncProblem,
  SyncReport,
  SyncRunState,
  SyncStatus,
} from '../src/api/sync-api.ts';
import type { Supply } from '../src/mirror/supply.ts';
import { RegistryError } from '../src/oci/errors.ts';
import type { Log } from '../src/observe/log.ts';
import type { Metrics } from '../src/observe/metrics.ts';
import type { BlobStore } from '../src/store/files/blob-store.ts';
import type { Catalog } from '../src/store/catalog/catalog.ts';
import type { Pins } from '../src/store/care/pins.ts';
import { Backoff } from '../src/time/backoff.ts';
import { describeDeparture, describePlan } from './describe-plan.ts';
import { Gate } from './gate.ts';
import { findFailure } from './find-failure.ts';
import { fingerprint, readLock } from './lock.ts';
import { logLineOf } from './log-line.ts';
import { Meter } from './meter.ts';
import { Pace } from './pace.ts';
import { PASSING_ANSWERS, Patience } from './patience.ts';
import { Planner } from './planner.ts';
import { Readiness } from './readiness.ts';
import { reasonOf } from './resolver.ts';
import { isOneImage, Runner } from './runner.ts';
import { REAL_TIMER, Schedule, type Timer } from './schedule.ts';
import type { State } from './state.ts';

export interface SyncParts {
  readonly config: SyncConfig;
  readonly state: State;
  readonly supply: Supply;
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  readonly metrics: Metrics;
  readonly log: Log;
  /** `registry/repository:tag` or `…@digest` of an image as somebody wrote it. */
  readonly canonical: (image: string) => string;
  readonly timer?: Timer;
  /** The mirror is set never to dial. */
  readonly isOffline: boolean;
}

const LOOK_MS = 5 * 60_000;
/** Before a run that missed an upstream is made again. */
const PAUSES = new Backoff({ firstMs: 60_000, maxMs: 60 * 60_000 });

/** For a site without rules. */
export const NOTHING_TO_SYNC: SyncConfig = {
  rules: [],
  schedule: '0 * * * *',
  windows: [],
  jitterMs: 0,
  concurrency: 1,
  releaseShare: 0,
};

interface Running {
  readonly meter: Meter;
  phase: 'planning' | 'fetching';
  readonly ended: Promise<void>;
  /** An upstream that may be had another time was given up on. */
  isMissing: boolean;
}

/** What a site must hold: kept ready by schedule, and answered for at any time. */
export class Sync implements SyncApi {
  readonly #parts: SyncParts;
  readonly #timer: Timer;
  readonly #state: State;
  readonly #schedule: Schedule;
  readonly #gate: Gate;
  readonly #planner: Planner;
  readonly #readiness: Readiness;
  readonly #pace: Pace | undefined;
  readonly #stop = new AbortController();
  #running: Running | undefined;
  #daemon: Promise<void> = Promise.resolve();
  #nextRunAt: number | undefined;
  #looking: NodeJS.Timeout | undefined;

  constructor(parts: SyncParts) {
    const { config, catalog, blobs, state, timer = REAL_TIMER } = parts;
    const now = (): number => timer.now();
    this.#parts = parts;
    this.#timer = timer;
    this.#state = state;
    this.#schedule = new Schedule(config, timer);
    this.#gate = new Gate(this.#schedule, now);
    this.#planner = new Planner({ ...parts, state, now });
    this.#readiness = new Readiness({ state, catalog, blobs, now });
    this.#pace = config.bytesPerSecond === undefined ? undefined : new Pace(config.bytesPerSecond);
  }

  get runState(): SyncRunState {
    const { last } = this.#state.current;
    return { ...this.#progress(), ...(last && { last }) };
  }

  /** Runs by schedule, and at once what an earlier process was in the middle of. */
  start(): void {
    this.#looking = setInterval(() => void this.#look(), LOOK_MS).unref();
    this.#daemon = this.#serve().catch((err: unknown) => {
      if (!this.#stop.signal.aborted) this.#parts.log.error({ err }, 'sync ended');
    });
  }

  /** For the metrics: what somebody removed by hand shows without a question. */
  async #look(): Promise<void> {
    await this.status().catch((err: unknown) =>
      this.#parts.log.error({ err }, 'how ready the site is could not be told'),
    );
  }

  async status(): Promise<SyncStatus> {
    const images = await this.#readiness.images();
    const counts = { ready: 0, partial: 0, stale: 0 };
    for (const { state } of images) counts[state] += 1;
    for (const [state, count] of Object.entries(counts)) {
      this.#parts.metrics.syncImages.set({ state }, count);
    }
    const closedUntil = this.#gate.wait?.closedUntil;
    const unresolved = this.#unresolved();
    return {
      rules: this.#parts.config.rules.length,
      counts,
      images,
      ...(unresolved.length > 0 && { unresolved }),
      ...(this.#nextRunAt !== undefined && { nextRunAt: this.#nextRunAt }),
      ...(closedUntil !== undefined && { closedUntil }),
      run: this.runState,
    };
  }

  async explain(image: string): Promise<SyncImage | undefined> {
    return this.#readiness.explain(this.#parts.canonical(image));
  }

  failure(image: string): SyncProblem | undefined {
    const { config, canonical } = this.#parts;
    const { last } = this.#state.current;
    const failures = this.#isOfTheseRules ? (last?.failures ?? []) : [];
    return findFailure(canonical(image), [...failures, ...this.#unresolved()], config.rules);
  }

  async plan(lock?: unknown): Promise<SyncPlan> {
    this.#refuseOffline();
    const plan = await this.#planner.plan(lock, { signal: this.#stop.signal });
    return describePlan(plan, this.#parts.config, this.#state.current.bytesPerSecond);
  }

  /** Throws `RegistryError` for a lock that does not match the rules, and offline, as `plan` does. */
  run(lock?: unknown): SyncRunState {
    this.#refuseOffline();
    if (lock !== undefined) readLock(this.#parts.config, lock, this.#timer.now());
    void this.#runOnce(lock);
    return this.runState;
  }

  /** Ends what runs at its next step. What it is fetching is the mirror's to abort, meanwhile. */
  stop(): void {
    clearInterval(this.#looking);
    this.#stop.abort(new Error('the server is stopping'));
  }

  /** After `stop`: resolves when nothing runs any more. */
  async closed(): Promise<void> {
    await this.#daemon;
    await this.#running?.ended;
  }

  async #serve(): Promise<void> {
    const { signal } = this.#stop;
    const { isRunning, last } = this.#state.current;
    if (isRunning || !last || !this.#isOfTheseRules) await this.#runUntilHad();
    if (signal.aborted) return;
    this.#nextRunAt = this.#schedule.nextRun(this.#timer.now());
    // What fell due while no process ran comes at once.
    for await (const _ of this.#schedule.runs(signal, this.#state.current.last?.startedAt)) {
      await this.#runUntilHad();
      this.#nextRunAt = this.#schedule.nextRun(this.#timer.now());
    }
  }

  /** And again, after a pause that grows, while an upstream could not be had; until the next is due. */
  async #runUntilHad(): Promise<void> {
    const { signal } = this.#stop;
    let isMissing = await this.#runOnce();
    for (let runs = 1; isMissing; runs += 1) {
      const pauseMs = PAUSES.after(runs);
      const now = this.#timer.now();
      if (now + pauseMs >= this.#schedule.nextRun(now)) return;
      this.#nextRunAt = now + pauseMs;
      await this.#timer.wait(pauseMs, signal);
      isMissing = await this.#runOnce();
    }
  }

  /** One at a time: who comes while it runs waits for its end. True: an upstream was missed. */
  async #runOnce(lock?: unknown): Promise<boolean> {
    if (this.#running) {
      await this.#running.ended;
      return false;
    }
    const meter = new Meter({ pace: this.#pace, now: () => this.#timer.now() });
    const { promise, resolve } = Promise.withResolvers<void>();
    const running: Running = { meter, phase: 'planning', ended: promise, isMissing: false };
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
    const { log, metrics } = this.#parts;
    const { signal } = this.#stop;
    const startedAt = this.#timer.now();
    await this.#state.update({ isRunning: true });
    const report = await this.#attempt(running, lock, startedAt);
    const isInterrupted = signal.aborted;
    const seconds = (report.endedAt - startedAt) / 1000;
    await this.#state.update({
      last: report,
      isRunning: isInterrupted,
      ...(report.bytes > 0 && seconds > 0 && { bytesPerSecond: report.bytes / seconds }),
    });
    log.info(logLineOf(report), 'sync run');
    const { failures } = report;
    metrics.syncLastRunBytes.set(report.bytes);
    metrics.syncLastRunSeconds.set(seconds);
    metrics.syncFailures.inc(failures.length);
    if (report.isOk) metrics.syncLastSuccess.set(report.endedAt / 1000);
    if (!isInterrupted) await this.status();
  }

  /** A run always comes to a report. */
  async #attempt(running: Running, lock: unknown, startedAt: number): Promise<SyncReport> {
    const { signal } = this.#stop;
    const { meter } = running;
    const report = { startedAt, bytes: 0, failures: [], released: [] };
    const gaveUp = (): void => {
      running.isMissing = true;
    };
    try {
      // Who cannot be reached keeps nobody else waiting: the client has insisted, the next run will.
      const faults = PASSING_ANSWERS;
      const patience = new Patience({ timer: this.#timer, signal, faults, gaveUp });
      const plan = await this.#planner.plan(lock, { signal, patience });
      running.phase = 'fetching';
      const runner = new Runner({
        ...this.#parts,
        state: this.#state,
        gate: this.#gate,
        meter,
        timer: this.#timer,
        gaveUp,
      });
      const { fetched, kept, failures, departures } = await runner.carryOut(plan, signal);
      const all = [...plan.problems, ...failures];
      const failed = all.map(({ image }) => image).filter(isOneImage);
      return {
        ...report,
        endedAt: this.#timer.now(),
        isOk: all.length === 0,
        images: { fetched, kept, failed: new Set(failed).size },
        bytes: meter.fetchedBytes,
        failures: all,
        released: departures.map(describeDeparture),
      };
    } catch (error) {
      return {
        ...report,
        endedAt: this.#timer.now(),
        isOk: false,
        images: { fetched: 0, kept: 0, failed: 0 },
        bytes: meter.fetchedBytes,
        aborted: reasonOf(error),
      };
    }
  }

  #refuseOffline(): void {
    if (!this.#parts.isOffline) return;
    const message =
      'this mirror is set offline and asks no upstream; "entrepot sync status" tells what is ready';
    throw new RegistryError('UNSUPPORTED', { status: 409, message });
  }

  get #isOfTheseRules(): boolean {
    return this.#state.current.rules === fingerprint(this.#parts.config);
  }

  /** What the images of the state leave open. */
  #unresolved(): readonly SyncProblem[] {
    if (this.#isOfTheseRules) return this.#state.current.unresolved ?? [];
    const reason = 'no run has resolved it yet';
    return this.#parts.config.rules.map(({ path, image }) => ({ rule: path, image, reason }));
  }

  #progress(): Pick<SyncRunState, 'running'> {
    if (!this.#running) return {};
    const { meter, phase } = this.#running;
    const wait = this.#gate.wait;
    return { running: wait ? meter.describe('waiting', wait.closedUntil) : meter.describe(phase) };
  }
}
