import type {
  WarmApi,
  WarmProgress,
  WarmReport,
  WarmState,
  WarmWish,
} from '../../src/api/warm-api.ts';
import { DIGEST, NGINX, NOON } from './fake-store-api.ts';

export const WARM_PROGRESS: WarmProgress = {
  startedAt: NOON,
  deadlineAt: NOON + 600_000,
  images: { done: 1, failed: 0, total: 3 },
  bytes: { done: 10_485_760, total: 52_428_800 },
  bytesPerSecond: 5_242_880,
  secondsLeft: 8,
};

export const WARM_REPORT: WarmReport = {
  startedAt: NOON,
  endedAt: NOON + 12_000,
  isOk: false,
  images: [
    { image: `${NGINX}:1.27`, digest: DIGEST, state: 'ready', bytes: 52_428_800, missingBytes: 0 },
    {
      image: 'ghcr.io/org/app:v1',
      digest: DIGEST,
      state: 'late',
      bytes: 1_500,
      missingBytes: 12_582_912,
      reason: 'not all of it was here by the deadline',
    },
    {
      image: 'ghcr.io/org/app:v9',
      state: 'failed',
      bytes: 0,
      missingBytes: 0,
      reason: 'the upstream has no such tag',
    },
  ],
};

/** Answers with the documents above, and writes down what it was asked. */
export class FakeWarmApi implements WarmApi {
  readonly calls: unknown[][] = [];
  stateNow: WarmState | undefined = { id: 'a', running: WARM_PROGRESS };
  /** Thrown by whatever is asked next. */
  fault: unknown;

  begin(wish: WarmWish): WarmState {
    this.calls.push(['begin', wish]);
    if (this.fault !== undefined) throw this.fault;
    return { id: 'a', running: WARM_PROGRESS };
  }

  state(id: string): WarmState | undefined {
    this.calls.push(['state', id]);
    return this.stateNow;
  }
}
