/**
 * - `offline`: the mirror is set never to dial.
 * - `unreachable`: no connection (name, route, refusal, TLS), or it broke.
 * - `timeout`: connected or not, no answer in time.
 * - `unauthorized`, `denied`: 401 and 403 with the configured credentials, or with none.
 * - `rate-limited`: 429.
 * - `failing`: 5xx.
 * - `bad-response`: an answer that a registry may not give.
 */
export type UpstreamFault =
  | 'offline'
  | 'unreachable'
  | 'timeout'
  | 'unauthorized'
  | 'denied'
  | 'rate-limited'
  | 'failing'
  | 'bad-response';

export interface UpstreamErrorOptions {
  readonly status?: number;
  readonly retryAfterMs?: number;
  readonly isUnasked?: boolean;
  readonly isOurs?: boolean;
  readonly cause?: unknown;
}

/** An upstream could not say whether it has something. The message is safe to show to clients. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
  readonly fault: UpstreamFault;
  readonly upstream: string;
  /** The message without the upstream's name. */
  readonly reason: string;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  /** Refused here, because of what the upstream said or did not say to earlier requests. */
  readonly isUnasked: boolean;
  /** This machine had nothing left to connect with; the upstream may be well. */
  readonly isOurs: boolean;

  /** The upstream could not be asked, which says nothing about what it would have answered. */
  get isSilence(): boolean {
    return (
      this.fault !== 'unauthorized' && this.fault !== 'denied' && this.fault !== 'bad-response'
    );
  }

  constructor(
    upstream: string,
    fault: UpstreamFault,
    reason: string,
    options: UpstreamErrorOptions = {},
  ) {
    super(`${upstream}: ${reason}`, { cause: options.cause });
    this.upstream = upstream;
    this.fault = fault;
    this.reason = reason;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.isUnasked = options.isUnasked ?? false;
    this.isOurs = options.isOurs ?? false;
  }
}
