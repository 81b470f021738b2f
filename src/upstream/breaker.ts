import { Backoff } from '../time/backoff.ts';
import type { Clock } from '../time/clock.ts';
import type { Log } from '../observe/log.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { TransportResponse } from '../net/transport.ts';
import type { Secrets } from './secrets.ts';
import { TEXTS } from './texts.ts';

export interface BreakerParts {
  readonly upstream: string;
  /** What it stands before: the registry itself, or a token service on another host. */
  readonly what: 'upstream' | 'token service';
  readonly host: string;
  /** Asks for `/v2/`, or what else no client chose, and resolves with the status; has an end of its own. */
  readonly probe: () => Promise<number>;
  /** Whether a status of the probe is a sign of life. */
  readonly isAlive: (status: number) => boolean;
  /** Whatever reason is told or logged is told without them. */
  readonly secrets: Secrets;
  readonly log: Log;
  /** The first pause before an upstream that is down is asked again; doubled after each failure. */
  readonly pauseMs: number;
  readonly clock: Clock;
}

/** What is wrong with an upstream as a whole. */
export interface UpstreamProblem {
  readonly state: 'suspect' | 'down';
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly reason: string;
}

interface Outage extends UpstreamProblem {
  readonly error: UpstreamError;
  /** Moments of the steady clock. */
  readonly downFrom: number;
  readonly pausedUntil: number;
}

/** How many connections in a row, or how many repositories, must fail before the registry is doubted. */
const FAILURES_TO_ASK = 3;
/** The longest pause before an upstream that is down is asked again. */
const MAX_PAUSE_MS = 30_000;
/** What a gateway answers for a registry that it cannot reach. A 500 is the registry's own. */
const OUTAGE_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

/*
 *        ┌── no answer in time ───────────────────────────▶ suspect ──┐
 *   up ──┤                                                            ├──▶ /v2/ is asked
 *        └── 3 broken connections in a row, or 502, 503 ──────────────┘        │
 *    ▲       or 504 of 3 repositories                                          │
 *    │                                                                         │
 *    ├────────────────────── any answer below 500 ◀────────────────────────────┤
 *    │                                                                         ▼
 *    └── an answer ◀── /v2/ is asked ◀── after a pause, the next request ◀── down
 *                           └── none: a longer pause ──────────────────────────▲
 *
 * What speaks against the upstream counts only while no answer came since its request was sent. A
 * suspect is asked as before, but held content need not wait for it. Only our own question for
 * `/v2/` takes an upstream down: no path that a client chooses can.
 */

/** Keeps requests from an upstream that is down. */
export class Breaker {
  readonly #parts: BreakerParts;
  readonly #pauses: Backoff;
  #suspicion: UpstreamProblem | undefined;
  #outage: Outage | undefined;
  #probing: Promise<void> | undefined;
  /** Probes in a row that found it down. */
  #refusals = 0;
  /** Answers of the registry so far: a failure of a request from before the last one is no news. */
  #answers = 0;
  /** Since the last answer. */
  #brokenConnections = 0;
  readonly #failingRepositories = new Set<string>();

  constructor(parts: BreakerParts) {
    this.#parts = parts;
    this.#pauses = new Backoff({ firstMs: parts.pauseMs, maxMs: MAX_PAUSE_MS });
  }

  /** `undefined` while nothing speaks against the upstream. */
  get problem(): UpstreamProblem | undefined {
    return this.#outage ?? this.#suspicion;
  }

  /** Whether it has answered anything since the start. */
  get hasAnswered(): boolean {
    return this.#answers > 0;
  }

  /** `undefined` before the first answer, or the first outage. */
  get isUp(): boolean | undefined {
    return this.#outage ? false : this.hasAnswered || undefined;
  }

  /** Whether the registry gives no sign of life to our own question, which is asked now unless it just was. */
  async isSilent(): Promise<boolean> {
    if (!this.#outage || this.#restMs(this.#outage) === 0) await this.#test();
    return this.#outage !== undefined;
  }

  /**
   * To be called before a client begins to wait. What it returns is called when the client has waited
   * in vain, and makes the upstream a suspect unless it has answered anything meanwhile.
   */
  watch(): (reason: string) => void {
    const answers = this.#answers;
    return (reason) => {
      if (answers === this.#answers && !this.#outage) this.#suspect(reason);
    };
  }

  /**
   * Sends a request about this repository, or throws while the upstream is down. What comes when the
   * pause is over waits for the probe.
   */
  async run(
    repository: string,
    send: () => Promise<TransportResponse>,
  ): Promise<TransportResponse> {
    if (this.#outage && this.#restMs(this.#outage) === 0) await this.#test();
    if (this.#outage) throw this.#refusal(this.#outage);
    const answers = this.#answers;
    try {
      const response = await send();
      if (this.#isGateway(response)) this.#countRepository(repository, answers);
      else this.#succeed();
      return response;
    } catch (error) {
      if (isUpstreamFault(error)) this.#countFault(error, answers);
      throw error;
    }
  }

  /** With `OCI-Namespace` it is a mirror, which is up, that speaks of its own upstream. */
  #isGateway({ status, headers }: TransportResponse): boolean {
    return OUTAGE_STATUSES.has(status) && headers['oci-namespace'] === undefined;
  }

  #countRepository(repository: string, answers: number): void {
    if (answers !== this.#answers || this.#outage) return;
    this.#failingRepositories.add(repository);
    if (this.#failingRepositories.size >= FAILURES_TO_ASK) void this.#test();
  }

  #countFault({ fault, reason }: UpstreamError, answers: number): void {
    if (answers !== this.#answers || this.#outage) return;
    if (fault === 'timeout') {
      this.#suspect(reason);
    } else {
      this.#brokenConnections += 1;
      if (this.#brokenConnections >= FAILURES_TO_ASK) void this.#test();
    }
  }

  #suspect(said: string): void {
    const reason = this.#parts.secrets.redactOwn(said);
    this.#suspicion ??= { state: 'suspect', since: this.#parts.clock.wall(), reason };
    void this.#test();
  }

  /** One probe at a time. Never rejects; one that says nothing of the upstream changes nothing. */
  async #test(): Promise<void> {
    this.#probing ??= this.#probe().finally(() => {
      this.#probing = undefined;
      this.#suspicion = undefined;
    });
    return this.#probing;
  }

  async #probe(): Promise<void> {
    const { upstream, host, probe, isAlive } = this.#parts;
    try {
      const status = await probe();
      if (isAlive(status)) return this.#succeed();
      const reason = TEXTS.answered({ host, status });
      this.#fail(new UpstreamError(upstream, 'failing', reason, { status }));
    } catch (error) {
      if (isUpstreamFault(error)) this.#fail(error);
    }
  }

  #succeed(): void {
    const { upstream, what, log, clock } = this.#parts;
    this.#answers += 1;
    this.#refusals = 0;
    this.#brokenConnections = 0;
    this.#failingRepositories.clear();
    this.#suspicion = undefined;
    if (!this.#outage) return;
    const downMs = Math.round(clock.steady() - this.#outage.downFrom);
    log.info({ upstream, downMs }, `the ${what} answers again`);
    this.#outage = undefined;
  }

  #fail(error: UpstreamError): void {
    const { upstream, what, log, clock, secrets } = this.#parts;
    const reason = secrets.redactOwn(error.reason);
    if (!this.#outage) log.warn({ upstream, reason }, `the ${what} is down`);
    this.#refusals += 1;
    const now = clock.steady();
    this.#outage = {
      state: 'down',
      since: this.#outage?.since ?? this.#suspicion?.since ?? clock.wall(),
      reason,
      error,
      downFrom: this.#outage?.downFrom ?? now,
      pausedUntil: now + this.#pauses.after(this.#refusals),
    };
  }

  #restMs({ pausedUntil }: Outage): number {
    return Math.max(0, pausedUntil - this.#parts.clock.steady());
  }

  #refusal(outage: Outage): UpstreamError {
    const { upstream, clock } = this.#parts;
    const { reason } = outage;
    const { fault, status } = outage.error;
    const seconds = Math.round((clock.steady() - outage.downFrom) / 1000);
    const told = seconds === 0 ? reason : TEXTS.down({ seconds, reason });
    return new UpstreamError(upstream, fault, told, {
      retryAfterMs: this.#restMs(outage),
      isUnasked: true,
      status,
    });
  }
}

/** Whether the upstream failed, and not the caller or this machine. */
function isUpstreamFault(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && !error.isOurs && error.fault !== 'offline';
}
