import type { AccountStatus, QuotaStatus } from '../api/status-api.ts';
import type { Metrics } from '../observe/metrics.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import { RecentMap } from '../time/recent-map.ts';
import type { Account } from './account.ts';
import { INTERACTIVE, isInteractive } from './demand.ts';
import { isPull, type QuotaRequest } from './quota.ts';
import { TEXTS } from './texts.ts';

/** The accounts of one upstream, which have the same rights and are used in turn. */
export class Accounts {
  readonly #upstream: string;
  readonly #accounts: readonly Account[];
  readonly #shares: PullShares;

  constructor(upstream: string, accounts: readonly Account[], clock: Clock) {
    this.#upstream = upstream;
    this.#accounts = accounts;
    this.#shares = new PullShares(clock);
  }

  /** The accounts whose quota allows the request, each once, those with most left first. */
  *inOrder(wanted: QuotaRequest): Generator<Account> {
    const { client } = wanted.demand;
    if (isPull(wanted)) {
      this.#shares.asks(client);
      if (this.#shareWaitMs(wanted) > 0) return;
    }
    using _ = isPull(wanted) ? this.#shares.take(client) : undefined;
    const waiting = new Set(this.#accounts);
    for (;;) {
      const free = [...waiting].filter(({ quota }) => quota.waitMs(wanted) === 0);
      const [first, ...others] = free;
      if (!first) return;
      const next = others.reduce((a, b) => (b.quota.room > a.quota.room ? b : a), first);
      waiting.delete(next);
      yield next;
    }
  }

  #shareWaitMs(wanted: QuotaRequest): number {
    const rooms = this.#accounts.map(({ quota }) => quota.room);
    const remaining = rooms.reduce((a, b) => a + b, 0);
    const known = Number.isFinite(remaining) ? remaining : undefined;
    return isPull(wanted) ? this.#shares.waitMs(wanted.demand.client, known) : 0;
  }

  /** The error when no account's quota allows the request, with the shortest wait. */
  refusal(wanted: QuotaRequest): UpstreamError {
    const shareWaitMs = this.#shareWaitMs(wanted);
    if (shareWaitMs > 0) {
      return new UpstreamError(this.#upstream, 'rate-limited', TEXTS.shareTaken, {
        retryAfterMs: shareWaitMs,
        isUnasked: true,
      });
    }
    const isKept =
      !isInteractive(wanted.demand) &&
      this.#accounts.some(({ quota }) => quota.waitMs({ ...wanted, demand: INTERACTIVE }) === 0);
    const reason = isKept ? TEXTS.reserveKept : TEXTS.limited;
    return new UpstreamError(this.#upstream, 'rate-limited', reason, {
      retryAfterMs: Math.min(...this.#accounts.map(({ quota }) => quota.waitMs(wanted))),
      isUnasked: true,
      ...(!isKept && { status: 429 }),
    });
  }

  /** Sets the metrics to the sums over all accounts; a figure that no account knows is not set. */
  show(metrics: Metrics): void {
    const label = { upstream: this.#upstream };
    const accounts = this.status;
    const told = (field: Exclude<keyof QuotaStatus, 'blockedForSeconds'>): number[] =>
      accounts.flatMap((account) => account[field] ?? []);
    const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
    const [limits, rests] = [told('limit'), told('remaining')];
    const [windows, ends] = [told('windowSeconds'), told('emptyInSeconds')];
    if (limits.length > 0) metrics.rateLimitLimit.set(label, sum(limits));
    if (rests.length > 0) metrics.rateLimitRemaining.set(label, sum(rests));
    if (windows.length > 0) metrics.rateLimitWindowSeconds.set(label, Math.max(...windows));
    if (ends.length > 0) metrics.rateLimitEmptySeconds.set(label, Math.max(...ends));
  }

  get status(): AccountStatus[] {
    return this.#accounts.map(({ label, quota, refused }) => ({
      account: label,
      ...quota.status,
      ...(refused && { refused }),
    }));
  }
}

interface Puller {
  /** Counted pulls, as far as they have not come back yet. */
  used: number;
  /** A moment of the steady clock. */
  askedAt: number;
}

/** A client that has asked for nothing for so long gives way. */
const ASKING_MS = 5 * 60_000;
/** The least lately seen are forgotten. */
const MAX_CLIENTS = 10_000;

/**
 * Who has taken how many of the pulls that an upstream counts. While others ask, one client takes no
 * more than half of what was there for it; one that is alone may take all.
 */
class PullShares {
  readonly #clock: Clock;
  readonly #pullers = new RecentMap<string, Puller>(MAX_CLIENTS);
  #remaining: number | undefined;
  /** Pulls whose answer, with what remains after them, is still to come. */
  #pending = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Milliseconds until the client may pull, if nothing else changes; 0 when it may now.
   * `remaining`: of all accounts together, where it is known.
   */
  waitMs(client: string | undefined, remaining: number | undefined): number {
    if (client === undefined || remaining === undefined) return 0;
    this.#learn(remaining);
    const now = this.#clock.steady();
    const used = this.#pullers.peek(client)?.used ?? 0;
    if (used < remaining - this.#pending) return 0;
    let until = now;
    for (const [other, puller] of this.#pullers.entries()) {
      // Who has taken as much already is not the one to be protected.
      if (other !== client && puller.used < used)
        until = Math.max(until, puller.askedAt + ASKING_MS);
    }
    return until - now;
  }

  /** The client asks, whether or not it may. */
  asks(client: string | undefined): void {
    if (client === undefined) return;
    const used = this.#pullers.get(client)?.used ?? 0;
    this.#pullers.set(client, { used, askedAt: this.#clock.steady() });
  }

  /** The client pulls; the result is disposed of when the answer is here. */
  take(client: string | undefined): Disposable {
    const puller = client === undefined ? undefined : this.#pullers.peek(client);
    if (puller) puller.used += 1;
    this.#pending += 1;
    return {
      [Symbol.dispose]: () => {
        this.#pending -= 1;
      },
    };
  }

  /** Pulls that have come back since, in a new window or a sliding one, are nobody's any more. */
  #learn(remaining: number): void {
    const back = remaining - (this.#remaining ?? remaining);
    this.#remaining = remaining;
    if (back <= 0) return;
    let total = 0;
    for (const { used } of this.#pullers.values()) total += used;
    const left = Math.max(0, total - back) / Math.max(1, total);
    for (const puller of this.#pullers.values()) puller.used *= left;
  }
}
