import type { Log } from '../../observe/log.ts';
import type { Metrics } from '../../observe/metrics.ts';
import { type Digest, IntegrityError } from '../../oci/digest.ts';
import { formatTarget, type Target } from '../../oci/reference.ts';
import { faultOf, NoRoomError, type Health } from '../../store/care/care.ts';
import type { Clock } from '../../time/clock.ts';
import { ExpiringMap } from '../../time/expiring-map.ts';
import type { DownloadState } from './following-reader.ts';
import { DroppedError } from './turn.ts';

export interface OutcomesParts {
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly clock: Clock;
}

/** Of a download. */
export interface DownloadOutcome {
  readonly target: Target;
  readonly digest: Digest;
  readonly state: DownloadState;
  readonly size: number | undefined;
}

/** Of one that has ended. */
interface Ended extends DownloadOutcome {
  readonly failure: unknown;
  /** It was passed on, and not to its end. */
  readonly isBroken: boolean;
}

/** Within it ranges of a blob that found no room need no transfer of the whole. */
const NO_ROOM_MS = 30_000;
const MAX_NO_ROOM = 1_000;

/** Tells the operator what became of downloads that failed, and remembers those that found no room. */
export class Outcomes {
  readonly #parts: OutcomesParts;
  readonly #sizes: ExpiringMap<string, number>;

  constructor(parts: OutcomesParts) {
    this.#parts = parts;
    this.#sizes = new ExpiringMap({ max: MAX_NO_ROOM, clock: parts.clock });
  }

  /** The size of a blob that lately found no room. */
  sizeOf(download: Pick<DownloadOutcome, 'target' | 'digest'>): number | undefined {
    return this.#sizes.get(keyOf(download));
  }

  /** Counts a download that ended so many seconds after it began. */
  count(ended: Ended, seconds: number): void {
    const { target, size = 0 } = ended;
    const { metrics } = this.#parts;
    const { upstream } = target;
    const result = resultOf(ended);
    metrics.downloads.inc({ upstream, result });
    if (result !== 'kept' && result !== 'passed') return;
    metrics.downloadBytes.inc({ upstream, result }, size);
    metrics.downloadSeconds.observe({ upstream }, seconds);
  }

  report(outcome: DownloadOutcome, failure: unknown): void {
    const { target, digest, state, size } = outcome;
    const { metrics, health, log } = this.#parts;
    const about = { target: formatTarget(target), digest };
    if (failure instanceof DroppedError) {
      log.info({ ...about, reason: failure.reason }, 'download');
      return;
    }
    if (failure instanceof NoRoomError && size !== undefined) {
      this.#sizes.set(keyOf(outcome), size, NO_ROOM_MS);
    }
    if (failure instanceof IntegrityError) {
      metrics.integrityFailures.inc({ upstream: target.upstream, where: 'download' });
    } else if (failure instanceof NoRoomError || state === 'unstored' || state === 'finished') {
      // The store failed: one that is `finished` was served and could not be recorded.
      health.refused(failure, size);
    }
    log.warn({ ...about, state, ...faultOf(failure) }, 'download');
  }
}

/** A blob that is `finished` and failed was served, and could not be recorded. */
function resultOf({
  state,
  failure,
  isBroken,
}: Pick<Ended, 'state' | 'failure' | 'isBroken'>): 'kept' | 'passed' | 'absent' | 'failed' {
  if (state === 'absent') return 'absent';
  if (state === 'finished') return failure === undefined ? 'kept' : 'passed';
  return state === 'unstored' && !isBroken ? 'passed' : 'failed';
}

function keyOf({ target, digest }: Pick<DownloadOutcome, 'target' | 'digest'>): string {
  return `${formatTarget(target)} ${digest}`;
}
