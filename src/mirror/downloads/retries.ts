import { setTimeout as sleep } from 'node:timers/promises';
import { pausesOf, type Timing } from '../../net/timing.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { DroppedError } from './turn.ts';

/** A registry that asks for a longer pause gets it, but not from a waiting client. */
export const MAX_RETRY_AFTER_MS = 60_000;

/** Whether and when a transfer that failed is tried again. */
export class TransferRetries {
  readonly #timing: Timing;
  readonly #signal: AbortSignal | undefined;

  /** None once the signal aborts. */
  constructor(timing: Timing, signal: AbortSignal | undefined) {
    this.#timing = timing;
    this.#signal = signal;
  }

  /** Whether another attempt may do better; a limit of the rate is waited for within the patience. */
  mayHelp(error: unknown, patienceMs: number): boolean {
    if (this.#signal?.aborted || !(error instanceof UpstreamError)) return false;
    if (error instanceof DroppedError) return false;
    switch (error.fault) {
      case 'unreachable':
      case 'timeout':
      case 'failing':
        return true;
      case 'rate-limited':
        return error.retryAfterMs !== undefined && error.retryAfterMs <= patienceMs;
      case 'bad-response':
      case 'offline':
      case 'unauthorized':
      case 'denied':
      case 'refused':
        return false;
    }
  }

  /** Longer with each failure in a row, and as long as the registry asks for. */
  async pause(failures: number, error?: unknown): Promise<void> {
    const asked = error instanceof UpstreamError ? (error.retryAfterMs ?? 0) : 0;
    const own = pausesOf(this.#timing).after(failures);
    await sleep(Math.max(own, Math.min(asked, MAX_RETRY_AFTER_MS)), undefined, {
      signal: this.#signal,
    });
  }
}
