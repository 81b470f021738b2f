import { setTimeout as sleep } from 'node:timers/promises';
import { pausesOf, type Timing } from '../../net/timing.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { DroppedError } from './turn.ts';

/** A registry that asks for a longer pause gets it, but not from a waiting client. */
export const MAX_RETRY_AFTER_MS = 60_000;

/** Before a fair share of bytes has come: with the pauses between them, about half a minute of outage. */
export const MAX_BREAKS = 8;
/**
 * What a link at the floor brings in 16 s. Handshake and headers of a request cost some 6 KiB, so that
 * an upstream that breaks off after each byte ends the transfer and is not asked a million times.
 */
const FAIR_SHARE_BYTES = 16 * 1024;

/** Whether and when a transfer that failed is tried again. */
export class TransferRetries {
  readonly #timing: Timing;
  readonly #signal: AbortSignal | undefined;
  /** Since a fair share of bytes came, and those that came since. */
  #breaks = 0;
  #came = 0;

  /** None once the signal aborts. */
  constructor(timing: Timing, signal: AbortSignal | undefined) {
    this.#timing = timing;
    this.#signal = signal;
  }

  /** Bytes have come. */
  came(bytes: number): void {
    this.#came += bytes;
  }

  /** It broke off. How often since a fair share of bytes came without a break. */
  break(): number {
    if (this.#came >= FAIR_SHARE_BYTES) [this.#breaks, this.#came] = [0, 0];
    this.#breaks += 1;
    return this.#breaks;
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
