/**
 * What the admin API needs of sync. Times are milliseconds since 1970, sizes bytes; images are
 * written with their registry: `docker.io/library/nginx`.
 */
export interface SyncApi {
  status(): Promise<SyncStatus>;
  /**
   * Resolves the rules, or takes the digests of a lock, and compares them with the store. Fetches
   * manifests at most. Throws `RegistryError` with status 400 for what is no lock, and for one that
   * does not match the rules; with 409 at a mirror that is set offline.
   */
  plan(lock?: unknown): Promise<SyncPlan>;
  /** Begins a run unless one runs already; throws as `plan` does. */
  run(lock?: unknown): SyncRunState;
  /**
   * Begins a run of these images alone, which must be selected: all others stay as they are. Throws as
   * `plan` does, and with status 400 for what no rule, or not the lock, selects.
   */
  runSome(images: readonly string[], lock?: unknown): SyncRunState;
  readonly runState: SyncRunState;
  /** Of the last run of some images alone, which `runState` does not remember. */
  readonly someState: SyncRunState;
  /**
   * What the rules say about an image; `undefined` when none selects it. Throws `RegistryError` for
   * what names no image.
   */
  explain(image: string): Promise<SyncImage | undefined>;
  /** Why the last run did not get it; `undefined` when it did. Throws as `explain` does. */
  failure(image: string): SyncProblem | undefined;
}

export interface SyncStatus {
  /** Without rules, and without images that a bundle brought, there is nothing to be ready. */
  readonly rules: number;
  /** `unresolved`: rules and images of which it is not known what they select. */
  readonly counts: {
    readonly ready: number;
    readonly partial: number;
    readonly stale: number;
    readonly unresolved: number;
  };
  /** In the order of rules and tags; then what bundles brought. */
  readonly images: readonly SyncImage[];
  /** What is selected and has no digest yet: no run has resolved it, or none could. */
  readonly unresolved?: readonly SyncProblem[];
  readonly nextRunAt?: number;
  /** While the windows are closed. */
  readonly closedUntil?: number;
  readonly run: SyncRunState;
}

export interface SyncImage {
  readonly image: string;
  readonly tag?: string;
  readonly digest: string;
  /** Where the rule stands in the configuration; `bundle` and its series for what a bundle brought. */
  readonly rule: string;
  readonly platforms: readonly string[] | 'all';
  readonly state: 'ready' | 'partial' | 'stale';
  readonly bytes: number;
  readonly missingBytes: number;
  /** At most ten of them. */
  readonly missing: readonly {
    readonly digest: string;
    readonly size: number;
    /** Of the manifest of one platform. */
    readonly platform?: string;
  }[];
  /** Its tag does not mean it here. */
  readonly lacksTag?: true;
  /** When the upstream last confirmed it, or a bundle brought it. */
  readonly checkedAt: number;
  /** Why it is not ready, or what became of it upstream. */
  readonly reason?: string;
}

export interface SyncPlan {
  readonly createdAt: number;
  /** To be written down, looked through and replayed. */
  readonly lock: SyncLock;
  readonly images: readonly PlannedImage[];
  /** What left the selection. */
  readonly released: readonly ReleasedImage[];
  /** Rules and images that could not be resolved. */
  readonly problems: readonly SyncProblem[];
  readonly totals: SyncTotals;
}

export interface SyncTotals {
  readonly images: number;
  readonly toFetch: number;
  readonly fetchBytes: number;
  readonly heldBytes: number;
  /** Requests that the run will make, and those of them that count against a quota. */
  readonly requests: number;
  readonly countedRequests: number;
  /** At the configured bandwidth or the rate of earlier runs; absent while neither is known. */
  readonly seconds?: number;
}

export interface PlannedImage {
  readonly image: string;
  readonly tag?: string;
  readonly digest: string;
  readonly rule: string;
  readonly action: 'fetch' | 'keep';
  /** What the tag meant here before. */
  readonly before?: string;
  readonly bytes: number;
  readonly fetchBytes: number;
  readonly blobs: number;
}

export interface ReleasedImage {
  readonly image: string;
  readonly tag?: string;
  readonly digest: string;
  readonly rule: string;
  /** `guarded`: it left the selection and stays all the same, because of what `why` says. */
  readonly action: 'release' | 'keep' | 'guarded';
  readonly why: string;
  /** It may be selected as before: its upstream could not be asked. */
  readonly isUnasked?: true;
}

export interface SyncProblem {
  readonly rule: string;
  readonly image: string;
  readonly reason: string;
}

export interface SyncLock {
  readonly version: 1;
  /** Of the rules that it was made from. */
  readonly rules: string;
  readonly createdAt: string;
  readonly images: readonly {
    readonly image: string;
    readonly tag?: string;
    readonly digest: string;
    readonly rule: string;
  }[];
}

export interface SyncRunState {
  /** Of a run of some images: where it is looked at. */
  readonly id?: 'images';
  readonly running?: SyncProgress;
  readonly last?: SyncReport;
}

export interface SyncProgress {
  readonly startedAt: number;
  readonly phase: 'planning' | 'fetching' | 'waiting';
  /** Some images that it is about alone. */
  readonly only?: readonly string[];
  /** Of `waiting`: until the next window opens. */
  readonly until?: number;
  readonly images: { readonly done: number; readonly failed: number; readonly total: number };
  readonly bytes: { readonly done: number; readonly total: number };
  /** Over the last seconds. */
  readonly bytesPerSecond: number;
  readonly secondsLeft?: number;
}

export interface SyncReport {
  readonly startedAt: number;
  readonly endedAt: number;
  /** False when an image failed, a rule could not be resolved, or it was aborted. */
  readonly isOk: boolean;
  readonly images: { readonly fetched: number; readonly kept: number; readonly failed: number };
  readonly bytes: number;
  readonly failures: readonly SyncProblem[];
  readonly released: readonly ReleasedImage[];
  /** Why it ended before its end. */
  readonly aborted?: string;
  /** Some images that it was about alone. */
  readonly only?: readonly string[];
}
