import { UpstreamError, type UpstreamFault } from '../src/oci/upstream-error.ts';
import { Backoff } from '../src/time/backoff.ts';
import type { Timer } from './schedule.ts';

const MAX_ATTEMPTS = 4;
const MAX_PAUSE_MS = 10 * 60_000;
const PAUSES = new Backoff({ firstMs: 5_000, factor: 3, maxMs: MAX_PAUSE_MS });

/** Answers of an upstream that may be better later. */
export const PASSING_ANSWERS: readonly UpstreamFault[] = ['failing', 'rate-limited'];
/** These answers, and faults of the link. */
export const PASSING_FAULTS: readonly UpstreamFault[] = [
  ...PASSING_ANSWERS,
  'unreachable',
  'timeout',
];

export interface RetriesParts {
  readonly timer: Timer;
  readonly signal: AbortSignal;
  /** The faults after which another attempt is made. */
  readonly faults: readonly UpstreamFault[];
  /** A moment of the steady clock: no pause is begun that would end after it. */
  readonly until?: number;
  /** Called when the attempts end with a fault that a later run may not meet. */
  readonly gaveUp?: () => void;
}

/**
 * Repeats requests that failed, with pauses that grow and are never shorter than the upstream asked
 * for. An upstream that failed in all attempts of one request gets no second attempt for others, so
 * that a thousand requests to one that is down wait as long as one.
 */
export class Retries {
  readonly #parts: RetriesParts;
  readonly #spent = new Set<string>();

  constructor(parts: RetriesParts) {
    this.#parts = parts;
  }

  /** Rejects as the last attempt did, or when the signal aborts. */
  async run<Value>(work: () => Promise<Value>): Promise<Value> {
    const { timer, signal, gaveUp } = this.#parts;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        signal.throwIfAborted();
        if (!isPassing(error)) throw error;
        if (this.#isLast(error, attempt)) {
          gaveUp?.();
          throw error;
        }
        await timer.wait(pauseAfter(error, attempt), signal);
      }
    }
  }

  #isLast(error: UpstreamError, attempt: number): boolean {
    const { fault, upstream, isOurs } = error;
    // A shortage of sockets on this machine ends soon.
    if (!isOurs && !this.#parts.faults.includes(fault)) return true;
    if (attempt === MAX_ATTEMPTS) this.#spent.add(upstream);
    return this.#spent.has(upstream) || this.#isTooLong(pauseAfter(error, attempt));
  }

  #isTooLong(pauseMs: number): boolean {
    const { timer, until = Infinity } = this.#parts;
    return timer.steady() + pauseMs > until;
  }
}

/** Whether another attempt may succeed. */
function isPassing(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && (error.isOurs || PASSING_FAULTS.includes(error.fault));
}

function pauseAfter({ retryAfterMs = 0 }: UpstreamError, attempt: number): number {
  return Math.min(MAX_PAUSE_MS, Math.max(retryAfterMs, PAUSES.after(attempt)));
}
