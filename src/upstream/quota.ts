import { LRUCache } from 'lru-cache';
import { Backoff } from '../time/backoff.ts';
import type { Clock } from '../time/clock.ts';
import type { QuotaStatus } from '../api/status-api.ts';
import { isInteractive } from './demand.ts';
import type { RegistryRequest } from './registry-sender.ts';

/** What of a request matters to the quota. */
export type QuotaRequest = Pick<RegistryRequest, 'kind' | 'method' | 'scope' | 'demand'>;

/** Docker Hub counts GETs of manifests as pulls, and nothing else. */
export function isPull({ kind, method }: Pick<QuotaRequest, 'kind' | 'method'>): boolean {
  return kind === 'manifest' && method === 'GET';
}

/** Share of the limit that is kept for interactive pulls. */
const RESERVE_SHARE = 0.25;
/** Our own pauses after refusals in a row: a registry that has recovered is noticed within a minute. */
const PAUSES = new Backoff({ firstMs: 1_000, maxMs: 60_000 });
/** How many repositories must be refused, with no other answer between, to speak for the account. */
const REFUSED_TO_BLOCK = 3;
/** The least lately refused are forgotten. */
const MAX_REFUSED = 1_000;
/** The pause when nothing remains and the registry does not say for how long. */
const EMPTY_MS = 15 * 60_000;
const FORECAST_MS = 3_600_000;
const MAX_SAMPLES = 200;

type Headers = Readonly<Record<string, string>>;

interface Refused {
  readonly times: number;
  /** A moment of the steady clock. */
  readonly until: number;
}

interface Sample {
  readonly at: number;
  readonly remaining: number;
}

/**
 * The budget of one credential at one upstream, learnt from `ratelimit-*`, `Retry-After` and 429.
 * An upstream that tells of no limit has none until it says 429. Where `ratelimit-*` shows that it
 * counts by account, a 429 is the account's, for as long as it says; otherwise it is the one
 * repository's, for as long as it says (an hour at most), and the account's only when three
 * repositories have it, for a pause of our own (a minute at most): no repository shuts the others out.
 * @see https://docs.docker.com/docker-hub/usage/pulls/
 */
export class Quota {
  readonly #clock: Clock;
  #limit: number | undefined;
  #remaining: number | undefined;
  #windowMs: number | undefined;
  #blockedUntil = -Infinity;
  #emptyUntil = -Infinity;
  /** In a row, of the account as a whole. */
  #refusals = 0;
  /** Refusals by the scope that a request needs, which names its repository. */
  readonly #refused = new LRUCache<string, Refused>({ max: MAX_REFUSED });
  /** Scopes refused since the last other answer. */
  readonly #refusedInRow = new Set<string>();
  #samples: Sample[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Learns from any answer of the registry, to a request of this scope, that is no 429. */
  observe(headers: Headers, scope = ''): void {
    this.#refusals = 0;
    this.#refused.delete(scope);
    this.#refusedInRow.clear();
    this.#learn(headers);
    if ((this.#remaining ?? 0) > 0) this.#emptyUntil = -Infinity;
  }

  /** Learns from a 429. `retryAfterMs` is what the upstream asked for, if it did. */
  refuse(headers: Headers, retryAfterMs: number | undefined, wanted: QuotaRequest): void {
    this.#learn(headers);
    const now = this.#clock.steady();
    const askedMs = retryAfterMs ?? 0;
    if (isPull(wanted) && this.#remaining === 0) {
      // HEADs cost nothing: they go on, and their headers tell when pulls remain again.
      this.#emptyUntil = now + (askedMs || EMPTY_MS);
      return;
    }
    if (this.#limit !== undefined || this.#remaining !== undefined) {
      this.#refusals += 1;
      this.#blockedUntil = now + Math.max(askedMs, PAUSES.after(this.#refusals));
      return;
    }
    const { scope } = wanted;
    const times = (this.#refused.get(scope)?.times ?? 0) + 1;
    this.#refused.set(scope, { times, until: now + Math.max(askedMs, PAUSES.after(times)) });
    if (this.#refusedInRow.size < REFUSED_TO_BLOCK) this.#refusedInRow.add(scope);
    if (this.#refusedInRow.size < REFUSED_TO_BLOCK) return;
    this.#refusals += 1;
    this.#blockedUntil = now + PAUSES.after(this.#refusals);
  }

  /** Milliseconds to wait before such a request may go; 0 when it may. */
  waitMs(wanted: QuotaRequest): number {
    const refusedUntil = this.#refused.get(wanted.scope)?.until ?? -Infinity;
    const wait = Math.max(this.#blockedMs(isPull(wanted)), refusedUntil - this.#clock.steady());
    if (wait > 0 || !isPull(wanted) || isInteractive(wanted.demand)) return wait;
    if (this.#limit === undefined || this.#remaining === undefined) return 0;
    return this.#remaining > this.#limit * RESERVE_SHARE ? 0 : EMPTY_MS;
  }

  /** Of the account as a whole. */
  #blockedMs(isForPulls: boolean): number {
    const until = Math.max(this.#blockedUntil, isForPulls ? this.#emptyUntil : -Infinity);
    return Math.max(0, until - this.#clock.steady());
  }

  /** Pulls that remain; `Infinity` when the registry does not tell. */
  get room(): number {
    return this.#remaining ?? Infinity;
  }

  get status(): QuotaStatus {
    const blockedMs = this.#blockedMs(true);
    const emptyInSeconds = this.#forecast();
    return {
      ...(this.#limit !== undefined && { limit: this.#limit }),
      ...(this.#remaining !== undefined && { remaining: this.#remaining }),
      ...(this.#windowMs !== undefined && { windowSeconds: this.#windowMs / 1000 }),
      ...(emptyInSeconds !== undefined && { emptyInSeconds }),
      ...(blockedMs > 0 && { blockedForSeconds: Math.ceil(blockedMs / 1000) }),
    };
  }

  /** `ratelimit-limit: 100;w=21600`, as Docker Hub sends it with every manifest, also by HEAD. */
  #learn(headers: Headers): void {
    const limit = parseRateLimit(headers['ratelimit-limit']);
    const remaining = parseRateLimit(headers['ratelimit-remaining']);
    if (limit) this.#limit = limit.count;
    const windowSeconds = limit?.windowSeconds ?? remaining?.windowSeconds;
    if (windowSeconds !== undefined) this.#windowMs = windowSeconds * 1000;
    if (!remaining) return;
    this.#remaining = remaining.count;
    this.#sample(remaining.count);
  }

  #sample(remaining: number): void {
    const at = this.#clock.steady();
    const last = this.#samples.at(-1);
    // More remain than before: a new window began, and the samples of the old one do not count.
    if (last && remaining > last.remaining) this.#samples = [];
    else if (last?.remaining === remaining) return;
    this.#forget();
    this.#samples.push({ at, remaining });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  /** Drops samples older than the forecast looks back, but for the newest one. */
  #forget(): void {
    const since = this.#clock.steady() - FORECAST_MS;
    this.#samples = this.#samples.filter(({ at }, n, all) => at >= since || n === all.length - 1);
  }

  #forecast(): number | undefined {
    this.#forget();
    const first = this.#samples[0];
    if (!first || this.#remaining === undefined) return undefined;
    const used = first.remaining - this.#remaining;
    const seconds = (this.#clock.steady() - first.at) / 1000;
    if (used <= 0 || seconds <= 0) return this.#remaining === 0 ? 0 : undefined;
    return Math.round((this.#remaining * seconds) / used);
  }
}

function parseRateLimit(
  value: string | undefined,
): { count: number; windowSeconds: number | undefined } | undefined {
  const match = /^(\d{1,15})(?:.*;\s*w=(\d{1,15}))?/.exec(value ?? '');
  if (!match) return undefined;
  return { count: Number(match[1]), windowSeconds: match[2] ? Number(match[2]) : undefined };
}
