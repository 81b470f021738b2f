import { UpstreamError, type UpstreamFault } from '../src/oci/upstream-error.ts';
import { Backoff } from '../src/time/backoff.ts';
import type { Timer } from './schedule.ts';

const MAX_ATTEMPTS = 4;
const MAX_PAUSE_MS = 10 * 60_000;
const PAUSES = new Backoff({ firstMs: 5_000, factor: 3, maxMs: MAX_PAUSE_MS });

/** What an upstream answers for a while. */
export const PASSING_ANSWERS: readonly UpstreamFault[] = ['failing', 'rate-limited'];
/** And what keeps it from answering. */
export const PASSING_FAULTS: readonly UpstreamFault[] = [
  ...PASSING_ANSWERS,
  'unreachable',
  'timeout',
];

export interface RetriesParts {
  readonly timer: Timer;
  readonly signal: AbortSignal;
  /** Those after which another attempt is made. */
  readonly faults: readonly UpstreamFault[];
  /** Told when it gives up on what may still go well another time. */
  readonly gaveUp?: () => void;
}

/**
 * Repeats what an upstream may do better later, with a pause that grows and is never shorter than
 * the upstream asked for. Once that was in vain, an upstream that still fails is not waited for
 * again: a thousand questions to one that is down cost the pauses of the first.
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
        if (this.#isVain(error, attempt)) {
          gaveUp?.();
          throw error;
        }
        await timer.wait(pauseAfter(error, attempt), signal);
      }
    }
  }

  #isVain({ fault, upstream, isOurs }: UpstreamError, attempt: number): boolean {
    // What is short on this machine comes back soon.
    if (!isOurs && !this.#parts.faults.includes(fault)) return true;
    if (attempt === MAX_ATTEMPTS) this.#spent.add(upstream);
    return this.#spent.has(upstream);
  }
}

/** Whether another attempt may do better, now or later. */
function isPassing(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && (error.isOurs || PASSING_FAULTS.includes(error.fault));
}

function pauseAfter({ retryAfterMs = 0 }: UpstreamError, attempt: number): number {
  return Math.min(MAX_PAUSE_MS, Math.max(retryAfterMs, PAUSES.after(attempt)));
}
