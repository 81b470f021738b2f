import { UpstreamError } from '../src/oci/upstream-error.ts';
import type { Timer } from './schedule.ts';

const MAX_ATTEMPTS = 4;
const FIRST_PAUSE_MS = 5_000;
const MAX_PAUSE_MS = 10 * 60_000;

/**
 * Repeats what an upstream may do better later, with a pause that grows and is never shorter than
 * the upstream asked for. Once that was in vain, an upstream that is still silent is not waited for
 * again: a thousand questions to one that is down cost the pauses of the first.
 */
export class Patience {
  readonly #timer: Timer;
  readonly #signal: AbortSignal;
  readonly #spent = new Set<string>();

  constructor(parts: { timer: Timer; signal: AbortSignal }) {
    this.#timer = parts.timer;
    this.#signal = parts.signal;
  }

  /** Rejects as the last attempt did, or when the signal aborts. */
  async try<Value>(work: () => Promise<Value>): Promise<Value> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        this.#signal.throwIfAborted();
        if (!isPassing(error) || this.#spent.has(error.upstream)) throw error;
        if (attempt === MAX_ATTEMPTS) {
          this.#spent.add(error.upstream);
          throw error;
        }
        await this.#timer.wait(pauseAfter(error, attempt), this.#signal);
      }
    }
  }
}

/** Whether another attempt may do better. */
function isPassing(error: unknown): error is UpstreamError {
  if (!(error instanceof UpstreamError)) return false;
  return ['unreachable', 'timeout', 'failing', 'rate-limited'].includes(error.fault);
}

function pauseAfter({ retryAfterMs = 0 }: UpstreamError, attempt: number): number {
  return Math.min(MAX_PAUSE_MS, Math.max(retryAfterMs, FIRST_PAUSE_MS * 3 ** (attempt - 1)));
}
