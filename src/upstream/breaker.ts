import { Backoff } from '../time/backoff.ts';
import type { Clock } from '../time/clock.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { TransportResponse } from '../net/transport.ts';
import { TEXTS } from './texts.ts';

export interface BreakerParts {
  readonly upstream: string;
  readonly metrics: Metrics;
  readonly log: Log;
  /** The first pause before an upstream that is down is asked again; doubled after each failure. */
  readonly pauseMs: number;
  readonly clock: Clock;
}

/** An upstream is down since its requests began to fail one after the other. */
export interface Outage {
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly reason: string;
}

interface KnownOutage extends Outage {
  readonly error: UpstreamError;
  /** Moments of the steady clock. */
  readonly downFrom: number;
  readonly pausedUntil: number;
}

const FAILURES_TO_OPEN = 3;
/** The longest pause before an upstream that is down is asked again. */
const MAX_PAUSE_MS = 30_000;
/** What a gateway answers for a registry that it cannot reach. A 500 is the registry's own. */
const OUTAGE_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

/*
 *   closed ──3 failures in a row──▶ open ──after a pause, the next request──▶ probing
 *      ▲                              ▲                                          │
 *      │                              └──────────failure, a longer pause─────────┤
 *      └─────────────────────────────────any answer──────────────────────────────┘
 */

/** Keeps requests from an upstream that is down, but for one at a time that tests it. */
export class Breaker {
  readonly #parts: BreakerParts;
  readonly #pauses: Backoff;
  #failures = 0;
  #outage: KnownOutage | undefined;
  /** Resolves with false when the probe says nothing about the upstream. */
  #probe: Promise<boolean> | undefined;
  /** How often the upstream was found down; a request that was sent before the last time is late. */
  #timesDown = 0;

  constructor(parts: BreakerParts) {
    this.#parts = parts;
    this.#pauses = new Backoff({ firstMs: parts.pauseMs, maxMs: MAX_PAUSE_MS });
    parts.metrics.upstreamUp.set({ upstream: parts.upstream }, 1);
  }

  /** `undefined` while requests may pass. */
  get outage(): Outage | undefined {
    return this.#outage;
  }

  /**
   * Sends to this host, or throws at once while the upstream is down. A request that comes during a
   * probe waits for its result.
   */
  async run(host: string, send: () => Promise<TransportResponse>): Promise<TransportResponse> {
    for (let outage = this.#outage; outage; outage = this.#outage) {
      if (!this.#probe) return this.#test(outage, host, send);
      const isTested = await this.#probe;
      outage = this.#outage;
      if (isTested && outage) throw this.#refusal(outage);
    }
    return this.#watch(host, send);
  }

  async #test(
    outage: KnownOutage,
    host: string,
    send: () => Promise<TransportResponse>,
  ): Promise<TransportResponse> {
    if (this.#restMs(outage) > 0) throw this.#refusal(outage);
    const answer = this.#watch(host, send);
    const settle = (isTested: boolean): boolean => {
      this.#probe = undefined;
      return isTested;
    };
    this.#probe = answer.then(
      () => settle(true),
      (error: unknown) => settle(isUpstreamFault(error)),
    );
    return answer;
  }

  async #watch(host: string, send: () => Promise<TransportResponse>): Promise<TransportResponse> {
    const { upstream } = this.#parts;
    const sentAfter = this.#timesDown;
    try {
      const response = await send();
      const { status } = response;
      // With `OCI-Namespace` it is a mirror, which is up, that speaks of its own upstream.
      const isOwnWord = response.headers['oci-namespace'] === undefined;
      if (OUTAGE_STATUSES.has(status) && isOwnWord) {
        this.#fail(
          new UpstreamError(upstream, 'failing', TEXTS.answered({ host, status }), { status }),
          sentAfter,
        );
      } else this.#succeed();
      return response;
    } catch (error) {
      if (isUpstreamFault(error)) this.#fail(error, sentAfter);
      throw error;
    }
  }

  #succeed(): void {
    const { upstream, metrics, log, clock } = this.#parts;
    this.#failures = 0;
    if (!this.#outage) return;
    const downMs = Math.round(clock.steady() - this.#outage.downFrom);
    log.info({ upstream, downMs }, 'the upstream answers again');
    this.#outage = undefined;
    metrics.upstreamUp.set({ upstream }, 1);
  }

  #fail(error: UpstreamError, sentAfter: number): void {
    const { upstream, metrics, log, clock } = this.#parts;
    // A late failure of a request that was sent before the upstream was found down is no news.
    if (sentAfter !== this.#timesDown) return;
    this.#failures += 1;
    if (this.#failures < FAILURES_TO_OPEN) return;
    if (!this.#outage) {
      log.warn({ upstream, reason: error.reason }, 'the upstream is down');
      metrics.upstreamUp.set({ upstream }, 0);
    }
    this.#timesDown += 1;
    const now = clock.steady();
    this.#outage = {
      since: this.#outage?.since ?? clock.wall(),
      reason: error.reason,
      error,
      downFrom: this.#outage?.downFrom ?? now,
      pausedUntil: now + this.#pauses.after(this.#failures - FAILURES_TO_OPEN + 1),
    };
  }

  #restMs({ pausedUntil }: KnownOutage): number {
    return Math.max(0, pausedUntil - this.#parts.clock.steady());
  }

  #refusal(outage: KnownOutage): UpstreamError {
    const { upstream, clock } = this.#parts;
    const { fault, status, reason } = outage.error;
    const seconds = Math.round((clock.steady() - outage.downFrom) / 1000);
    return new UpstreamError(upstream, fault, TEXTS.down({ seconds, reason }), {
      retryAfterMs: this.#restMs(outage),
      isUnasked: true,
      status,
    });
  }
}

/** Not so a request that its caller gave up, or that this machine had no socket for. */
function isUpstreamFault(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && !error.isOurs;
}
