import type {
  SyncApi,
  SyncImage,
  SyncLock,
  SyncPlan,
  SyncProblem,
  SyncProgress,
  SyncReport,
  SyncRunState,
  SyncStatus,
} from '../../src/api/sync-api.ts';
import { RegistryError } from '../../src/oci/errors.ts';
import { DAY, DIGEST, NGINX, NOON, OTHER_DIGEST } from './fake-store-api.ts';

const HOUR = 3_600_000;
const THIRD_DIGEST = `sha256:${'3'.repeat(64)}`;

export const READY: SyncImage = {
  image: NGINX,
  tag: '1.27',
  digest: DIGEST,
  rule: 'sync.rules[0]',
  platforms: ['linux/amd64', 'linux/arm64'],
  state: 'ready',
  bytes: 60_000_000,
  missingBytes: 0,
  missing: [],
  checkedAt: NOON - HOUR,
};

export const PARTIAL: SyncImage = {
  image: 'ghcr.io/org/app',
  tag: 'v1',
  digest: OTHER_DIGEST,
  rule: 'team-a.yaml: rules[1]',
  platforms: 'all',
  state: 'partial',
  bytes: 16_777_216,
  missingBytes: 12_582_912,
  missing: [{ digest: THIRD_DIGEST, size: 8_388_608 }],
  checkedAt: NOON - 2 * DAY,
  reason: 'ghcr.io answered 503',
};

export const STALE: SyncImage = {
  image: 'ghcr.io/org/base',
  digest: THIRD_DIGEST,
  rule: 'sync.rules[2]',
  platforms: 'all',
  state: 'stale',
  bytes: 1_500,
  missingBytes: 0,
  missing: [],
  checkedAt: NOON - 9 * DAY,
};

export const PROGRESS: SyncProgress = {
  startedAt: NOON,
  phase: 'fetching',
  images: { done: 3, failed: 0, total: 12 },
  bytes: { done: 1_073_741_824, total: 4_294_967_296 },
  bytesPerSecond: 20_971_520,
  secondsLeft: 153.2,
};

export const SYNC_REPORT: SyncReport = {
  startedAt: NOON,
  endedAt: NOON + 192_400,
  isOk: true,
  images: { fetched: 1, kept: 11, failed: 0 },
  bytes: 4_294_967_296,
  failures: [],
  released: [],
};

export const STATUS: SyncStatus = {
  rules: 3,
  counts: { ready: 1, partial: 1, stale: 1, unresolved: 0 },
  images: [READY, STALE, PARTIAL],
  nextRunAt: NOON + HOUR,
  run: {},
};

export const LOCK: SyncLock = {
  version: 1,
  rules: DIGEST,
  createdAt: '2026-11-21T12:00:00.000Z',
  images: [
    { image: NGINX, tag: '1.27', digest: DIGEST, rule: 'sync.rules[0]' },
    { image: 'ghcr.io/org/base', digest: THIRD_DIGEST, rule: 'sync.rules[2]' },
  ],
};

export const PLAN: SyncPlan = {
  createdAt: NOON,
  lock: LOCK,
  images: [
    {
      image: 'ghcr.io/org/base',
      digest: THIRD_DIGEST,
      rule: 'sync.rules[2]',
      action: 'keep',
      bytes: 1_500,
      fetchBytes: 0,
      blobs: 0,
    },
    {
      image: NGINX,
      tag: '1.27',
      digest: DIGEST,
      rule: 'sync.rules[0]',
      action: 'fetch',
      before: OTHER_DIGEST,
      bytes: 60_000_000,
      fetchBytes: 12_582_912,
      blobs: 3,
    },
  ],
  released: [
    {
      image: NGINX,
      tag: '1.26',
      digest: OTHER_DIGEST,
      rule: 'sync.rules[0]',
      action: 'release',
      why: 'not among the newest 1',
    },
  ],
  problems: [],
  totals: {
    images: 2,
    toFetch: 1,
    fetchBytes: 12_582_912,
    heldBytes: 47_418_588,
    requests: 5,
    countedRequests: 1,
    seconds: 61.5,
  },
};

export const PROBLEM = {
  rule: 'sync.rules[1]',
  image: 'ghcr.io/org/*',
  reason: 'ghcr.io has no catalog: name its repositories',
};

/** Answers with the documents above, and writes down what it was asked. */
export class FakeSyncApi implements SyncApi {
  readonly calls: unknown[][] = [];
  statusNow = STATUS;
  planNow = PLAN;
  /** What a run begins with. */
  runStart: SyncRunState = {};
  runState: SyncRunState = {};
  someState: SyncRunState = { id: 'images' };
  imageNow: SyncImage | undefined;
  failureNow: SyncProblem | undefined;
  /** Thrown by whatever is asked next. */
  fault: unknown;

  async status(): Promise<SyncStatus> {
    return this.#answer(['status'], this.statusNow);
  }

  async plan(lock?: unknown): Promise<SyncPlan> {
    return this.#answer(['plan', lock], this.planNow);
  }

  run(lock?: unknown): SyncRunState {
    this.#answer(['run', lock], undefined);
    this.runState = this.runStart;
    return this.runState;
  }

  runSome(images: readonly string[], lock?: unknown): SyncRunState {
    this.#answer(['runSome', images, lock], undefined);
    return this.someState;
  }

  async explain(image: string): Promise<SyncImage | undefined> {
    return this.#answer(['explain', image], this.imageNow);
  }

  failure(): SyncProblem | undefined {
    return this.failureNow;
  }

  #answer<T>(call: unknown[], answer: T): T {
    this.calls.push(call);
    if (this.fault !== undefined) throw this.fault;
    return answer;
  }
}

/** What the API says to a lock of other rules. */
export const OTHER_RULES = new RegistryError('UNSUPPORTED', {
  status: 400,
  message: 'the rules have changed since it was written',
  detail: 'lock.rules',
});
