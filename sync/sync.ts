import type {
  SyncApi,
  SyncImage,
  SyncPlan,
  SyncProblem,
  SyncRunState,
  SyncStatus,
  PlannedImage,
} from '../src/api/sync-api.ts';
import type { SyncConfig } from '../src/config/sync-schema.ts';
import { RegistryError } from '../src/oci/errors.ts';
import { isSameTarget } from '../src/oci/reference.ts';
import { SyncRuns } from './runs.ts';
import { ImageScope } from './image-scope.ts';
import { readLock, formatLock } from './lock.ts';
import { makePlan, isToFetch, missingOf, type Plan, type PlannedItem } from './planner.ts';
import { describeReadiness, explainImage, surveyImages } from './readiness.ts';
import { findFailure } from './tag-selector.ts';
import { REAL_TIMER, Schedule, type Timer } from './schedule.ts';
import { TEXTS } from './texts.ts';
import type { SyncParts } from './parts.ts';
import type { KnownImage } from './state.ts';
import { describeReleased } from './deselected-image.ts';
import { describeImage } from './wanted-image.ts';

export interface SyncOptions extends Omit<SyncParts, 'timer' | 'schedule' | 'signal'> {
  /**
   * The full name of an image as an operator wrote it: `registry/repository:tag` or `…@digest`.
   */
  readonly canonical: (image: string) => string;
  readonly timer?: Timer;
  /** The mirror is set never to dial. */
  readonly isOffline: boolean;
}

/** For a site without rules. */
export const NOTHING_TO_SYNC: SyncConfig = {
  rules: [],
  schedule: '0 * * * *',
  windows: [],
  jitterMs: 0,
  concurrency: 1,
  releaseShare: 0,
};

/** How old the counts of the metrics may get: files may be removed by hand. */
const LOOK_MS = 5 * 60_000;

/** Keeps the images of the rules on this site and answers the API's questions about them. */
export class Sync implements SyncApi {
  #parts: SyncOptions & SyncParts;
  readonly #stop = new AbortController();
  #runs: SyncRuns;
  /** The runs by the rules before each reload, until they end. */
  readonly #before = new Set<SyncRuns>();
  #survey: { readonly at: number; readonly made: Promise<unknown> } | undefined;

  constructor({ timer = REAL_TIMER, ...given }: SyncOptions) {
    const schedule = new Schedule(given.config, timer);
    this.#parts = { ...given, timer, schedule, signal: this.#stop.signal };
    this.#runs = new SyncRuns(this.#parts);
  }

  /**
   * Goes by this configuration from now on, and is to be started again. A run under way ends by the
   * rules that it began with, before the next one begins; at once, where it waits for a window or
   * nothing may be fetched any more.
   */
  configure(config: SyncConfig, { isOffline }: Pick<SyncOptions, 'isOffline'>): void {
    const before = this.#runs;
    const schedule = new Schedule(config, this.#parts.timer);
    this.#parts = { ...this.#parts, config, schedule, isOffline };
    this.#survey = undefined;
    this.#before.add(before);
    const ended = before.leave({ isAtOnce: isOffline }).finally(() => this.#before.delete(before));
    this.#runs = new SyncRuns(this.#parts, ended);
  }

  get runState(): SyncRunState {
    const all = [...this.#before, this.#runs];
    const [progress] = all.flatMap((runs) => runs.progress ?? []);
    const { last } = this.#parts.state.current;
    return { ...(progress && { running: progress }), ...(last && { last }) };
  }

  /** Runs by schedule from now on. */
  start(): void {
    this.#runs.start();
  }

  async status(): Promise<SyncStatus> {
    const readiness = await surveyImages(this.#parts);
    const closedUntil = this.#parts.schedule.closed?.closedUntil;
    const unresolved = this.#parts.state.unresolved(this.#parts.config);
    const { nextRunAt } = this.#runs;
    return {
      rules: this.#parts.config.rules.length,
      ...readiness,
      ...(unresolved.length > 0 && { unresolved }),
      ...(nextRunAt !== undefined && { nextRunAt }),
      ...(closedUntil !== undefined && { closedUntil }),
      run: this.runState,
    };
  }

  /** Sets the metrics. The first who asks waits for them; later they are as at the last look. */
  async measure(): Promise<void> {
    const { log, timer, metrics } = this.#parts;
    const { nextRunAt } = this.#runs;
    // A schedule may name no day that comes.
    if (Number.isFinite(nextRunAt)) metrics.sync.nextRun.set(Number(nextRunAt) / 1000);
    else metrics.sync.nextRun.remove();
    const last = this.#survey;
    const now = timer.steady();
    if (!last || now - last.at >= LOOK_MS) {
      const made = surveyImages(this.#parts).catch((err: unknown) =>
        log.error({ err }, 'how ready the site is could not be told'),
      );
      this.#survey = { at: now, made };
    }
    await (last ?? this.#survey)?.made;
  }

  async explain(image: string): Promise<SyncImage | undefined> {
    return explainImage(this.#parts, this.#parts.canonical(image));
  }

  /** Whether its copy of the tag is this digest, complete and not too old. */
  async isReady({
    target,
    tag,
    digest,
  }: Pick<KnownImage, 'target' | 'tag' | 'digest'>): Promise<boolean> {
    const image = this.#parts.state.current.images.find(
      (each) => each.tag === tag && each.digest === digest && isSameTarget(each.target, target),
    );
    return image !== undefined && (await describeReadiness(this.#parts, image)).state === 'ready';
  }

  /** Whether the referrers and cosign tags of an image that is selected were looked for. */
  isSearched({ target, digest }: Pick<KnownImage, 'target' | 'digest'>): boolean {
    return this.#parts.state.current.images.some(
      (each) =>
        each.searchedAt !== undefined &&
        each.digest === digest &&
        isSameTarget(each.target, target),
    );
  }

  failure(image: string): SyncProblem | undefined {
    const { config, state, canonical } = this.#parts;
    const failures = state.isOf(config) ? (state.current.last?.failures ?? []) : [];
    return findFailure(canonical(image), [...failures, ...state.unresolved(config)], config.rules);
  }

  async plan(lock?: unknown): Promise<SyncPlan> {
    this.#refuseOffline();
    const { config, state } = this.#parts;
    const plan = await makePlan(this.#parts, lock);
    return describePlan(plan, config, state.current.bytesPerSecond);
  }

  run(lock?: unknown): SyncRunState {
    this.#refuseOffline();
    const { config, timer } = this.#parts;
    if (lock !== undefined) readLock(config, lock, timer.wall());
    void this.#runs.run({ lock });
    return this.runState;
  }

  runSome(images: readonly string[], lock?: unknown): SyncRunState {
    this.#refuseOffline();
    const { config, canonical, timer } = this.#parts;
    const locked = lock === undefined ? undefined : readLock(config, lock, timer.wall());
    const only = ImageScope.read(images, { ...config, locked, canonical });
    void this.#runs.run({ lock, only });
    return this.someState;
  }

  get someState(): SyncRunState {
    const { running } = this.runState;
    const last = this.#parts.state.lastOfSome;
    return { id: 'images', ...(running?.only && { running }), ...(last && { last }) };
  }

  /** Ends the current run at its next step. The mirror aborts its downloads. */
  stop(): void {
    this.#stop.abort(new Error(TEXTS.stopping));
  }

  /** Resolves, after `stop`, when nothing runs any more. */
  async closed(): Promise<void> {
    await this.#runs.closed();
  }

  #refuseOffline(): void {
    if (!this.#parts.isOffline) return;
    throw new RegistryError('UNSUPPORTED', { status: 409, message: TEXTS.offline });
  }
}

/** A plan as the API tells it. */
function describePlan(plan: Plan, config: SyncConfig, earlierRate: number | undefined): SyncPlan {
  const { createdAt, items, failed, deselected, problems } = plan;
  const missing = missingOf(items);
  const rate = config.bytesPerSecond ?? earlierRate;
  return {
    createdAt,
    lock: formatLock(config, [...items.map(({ wanted }) => wanted), ...failed], createdAt),
    images: items.map(describeItem),
    released: deselected.map(describeReleased),
    problems,
    totals: {
      images: items.length,
      toFetch: items.filter(isToFetch).length,
      fetchBytes: missing.bytes,
      heldBytes: items.reduce((sum, { files }) => sum + files.bytes, 0),
      // Registries count manifests, which the plan has fetched, and no blobs.
      requests: missing.files,
      countedRequests: 0,
      ...(rate !== undefined && rate > 0 && { seconds: Math.ceil(missing.bytes / rate) }),
    },
  };
}

function describeItem(item: PlannedItem): PlannedImage {
  const { wanted, files, before } = item;
  const { bytes, missing, missingBytes } = files;
  return {
    ...describeImage(wanted),
    action: isToFetch(item) ? 'fetch' : 'keep',
    ...(before !== undefined && before !== wanted.digest && { before }),
    bytes: bytes + missingBytes,
    fetchBytes: missingBytes,
    blobs: missing.length,
  };
}
