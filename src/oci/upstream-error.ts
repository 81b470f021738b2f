import { TEXTS } from './texts.ts';

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
  readonly status?: number | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly isUnasked?: boolean;
  readonly isOurs?: boolean;
  readonly isCostly?: boolean;
  readonly cause?: unknown;
}

/** An upstream did not tell whether it has something. The message may be shown to clients. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
  readonly fault: UpstreamFault;
  readonly upstream: string;
  /** The message without the upstream's name. */
  readonly reason: string;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  /** The request was not sent: a quota or the breaker refused it. */
  readonly isUnasked: boolean;
  /** This machine had no socket or memory left to connect with; the upstream is not to blame. */
  readonly isOurs: boolean;
  /** It took many requests to learn, and would again: it counts for as long as an absence. */
  readonly isCostly: boolean;

  /** The upstream gave no answer about the content: a held copy may be served. */
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
    super(TEXTS.ofUpstream({ upstream, reason }), { cause: options.cause });
    this.upstream = upstream;
    this.fault = fault;
    this.reason = reason;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.isUnasked = options.isUnasked ?? false;
    this.isOurs = options.isOurs ?? false;
    this.isCostly = options.isCostly ?? false;
  }

  /** The same in other words, without its cause. */
  withReason(reason: string): UpstreamError {
    const { status, retryAfterMs, isUnasked, isOurs, isCostly } = this;
    const options = { status, retryAfterMs, isUnasked, isOurs, isCostly };
    return new UpstreamError(this.upstream, this.fault, reason, options);
  }
}
