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
/** Before an upstream that is down is asked again. */
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
  /** Whether it came to a verdict. */
  #probe: Promise<boolean> | undefined;
  /** How often it was found down, to tell failures of requests from before the last time. */
  #verdicts = 0;

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
   * Sends to this host, or throws at once when the upstream is down. Whoever comes while it is
   * being tested waits for the verdict.
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
      // One that its caller gave up, or that never left this machine, has tested nothing.
      (error: unknown) => settle(isVerdict(error)),
    );
    return answer;
  }

  async #watch(host: string, send: () => Promise<TransportResponse>): Promise<TransportResponse> {
    const { upstream } = this.#parts;
    const sentAfter = this.#verdicts;
    try {
      const response = await send();
      const { status } = response;
      // A mirror that speaks of what is behind it is up itself.
      const isOwnWord = response.headers['oci-namespace'] === undefined;
      if (OUTAGE_STATUSES.has(status) && isOwnWord) {
        this.#fail(
          new UpstreamError(upstream, 'failing', TEXTS.answered({ host, status }), { status }),
          sentAfter,
        );
      } else this.#succeed();
      return response;
    } catch (error) {
      if (isVerdict(error)) this.#fail(error, sentAfter);
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
    // Those that were sent before it was known to be down fail late and say nothing new.
    if (sentAfter !== this.#verdicts) return;
    this.#failures += 1;
    if (this.#failures < FAILURES_TO_OPEN) return;
    if (!this.#outage) {
      log.warn({ upstream, reason: error.reason }, 'the upstream is down');
      metrics.upstreamUp.set({ upstream }, 0);
    }
    this.#verdicts += 1;
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

/** What its caller gave up, or never left this machine, says nothing about the upstream. */
function isVerdict(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && !error.isOurs;
}
