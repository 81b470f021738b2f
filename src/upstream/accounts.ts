import type { AccountStatus, QuotaStatus } from '../api/status-api.ts';
import type { Metrics } from '../observe/metrics.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import type { Account } from './account.ts';
import { INTERACTIVE, isInteractive } from './demand.ts';
import { PullShares } from './pull-shares.ts';
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
    else metrics.rateLimitEmptySeconds.remove(label);
  }

  get status(): AccountStatus[] {
    return this.#accounts.map(({ label, quota }) => ({ account: label, ...quota.status }));
  }
}
