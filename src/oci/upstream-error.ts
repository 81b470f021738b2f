import { IntegrityError } from './digest.ts';
import { RegistryError, type ErrorCode } from './errors.ts';
import { TEXTS } from './texts.ts';

/**
 * - `offline`: the mirror is set never to dial.
 * - `unreachable`: no connection (name, route, refusal, TLS), or it broke.
 * - `timeout`: connected or not, no answer in time.
 * - `unauthorized`, `denied`: 401 and 403 with the configured credentials, or with none.
 * - `refused`: another 4xx, with which the registry says no to this one thing, in its own words: a
 *   policy (412), the law (451), a form that it does not have (406). 410 says that it is gone.
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
  | 'refused'
  | 'rate-limited'
  | 'failing'
  | 'bad-response';

/** Faults that come with an answer about the content, or with bytes in its place. */
const ANSWERS: ReadonlySet<UpstreamFault> = new Set([
  'unauthorized',
  'denied',
  'refused',
  'bad-response',
]);

export interface UpstreamErrorOptions {
  readonly status?: number | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly isUnasked?: boolean;
  readonly isOurs?: boolean;
  readonly isCostly?: boolean;
  readonly isAnswer?: boolean;
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
  /** It is what the question itself was answered, not a login on the way to it. */
  readonly isAnswer: boolean;
  /** It took many requests to learn, and would again: it counts for as long as an absence. */
  readonly isCostly: boolean;

  /** The upstream gave no answer about the content: a held copy may be served. */
  get isSilence(): boolean {
    return !ANSWERS.has(this.fault);
  }

  /** The upstream said that there is no such thing, in words that its 404 would not carry. */
  get isAbsence(): boolean {
    return this.fault === 'refused' && this.status === 410;
  }

  /** Nothing was heard of it: what it said before is all that is known. */
  get isAway(): boolean {
    const isMute = this.fault === 'unreachable' || this.fault === 'timeout';
    return this.fault === 'offline' || (isMute && !this.isOurs);
  }

  /** It is a mirror that says 404 of what its own upstream lately did not have, and cannot ask that now. */
  get isHearsay(): boolean {
    return this.fault === 'failing' && this.status === 404;
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
    this.isAnswer = options.isAnswer ?? false;
  }

  /** The same in other words, without its cause. */
  withReason(reason: string): UpstreamError {
    const { status, retryAfterMs, isUnasked, isOurs, isCostly, isAnswer } = this;
    const options = { status, retryAfterMs, isUnasked, isOurs, isCostly, isAnswer };
    return new UpstreamError(this.upstream, this.fault, reason, options);
  }
}

/** Told to clients when a registry answers 429 without `Retry-After`. */
const DEFAULT_RETRY_AFTER_MS = 60_000;

/** What an upstream says is gone. */
const ABSENT: Readonly<Record<string, ErrorCode>> = {
  manifest: 'MANIFEST_UNKNOWN',
  blob: 'BLOB_UNKNOWN',
};

/**
 * The one translation of faults into answers: a fault of an upstream keeps its meaning and names
 * the upstream and the cause, and only an upstream's own 404 or 410 is a 404. `kind` is what was
 * asked for: `manifest`, `blob`, or something else of a repository.
 */
export function toRegistryError(error: unknown, kind = ''): RegistryError {
  if (error instanceof RegistryError) return error;
  if (error instanceof UpstreamError) return fromUpstream(error, kind);
  if (error instanceof IntegrityError) {
    return new RegistryError('UNAVAILABLE', { message: TEXTS.damaged(error), cause: error });
  }
  return new RegistryError('UNKNOWN', { cause: error });
}

function fromUpstream(error: UpstreamError, kind: string): RegistryError {
  const { message, upstream, fault, status } = error;
  const detail = { upstream, fault, ...(status !== undefined && { upstreamStatus: status }) };
  const options = { message, detail, cause: error };
  switch (error.fault) {
    case 'unauthorized':
    case 'denied':
      return new RegistryError('DENIED', options);
    case 'refused':
      return new RegistryError(
        error.isAbsence ? (ABSENT[kind] ?? 'NAME_UNKNOWN') : 'DENIED',
        options,
      );
    case 'rate-limited': {
      const seconds = Math.max(1, Math.ceil((error.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS) / 1000));
      return new RegistryError('TOOMANYREQUESTS', {
        ...options,
        headers: { 'Retry-After': String(seconds) },
      });
    }
    // As RFC 9111 section 5.2.1.7 answers `only-if-cached` for what is not stored.
    case 'offline':
    case 'timeout':
      return new RegistryError('UNAVAILABLE', { ...options, status: 504 });
    case 'failing':
      return new RegistryError('UNAVAILABLE', { ...options, status: status === 503 ? 503 : 502 });
    case 'bad-response':
      return new RegistryError('UNAVAILABLE', { ...options, ...(status === 508 && { status }) });
    case 'unreachable':
      return new RegistryError('UNAVAILABLE', options);
  }
}
