import { GateRefusal } from '../mirror/mirror.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { reasonOf } from './reason.ts';
import type { Rule } from './rule.ts';
import { TEXTS } from './texts.ts';
import type { Verdict } from './verdict.ts';

export interface PendingJudgementsParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'admission'>;
}

export interface Asked {
  readonly target: Target;
  readonly digest: Digest;
  readonly rule: Rule;
}

/** `rules`: whose verdict it is, where several were asked at once. */
export type Ruling = Verdict & { readonly rules?: readonly Rule[] };
export type Found = Ruling | 'unlisted';

/** From the client's request on, until it is told to ask again. */
const PATIENCE_MS = 20_000;
const RETRY_AFTER = { 'Retry-After': '5' };
/** An image that stays refused is told of so often. */
const TOLD_MS = 30_000;
const MAX_TOLD = 10_000;

/**
 * Judgements that clients wait for: for 20 s at most, from the request on, while the judgement goes on. What comes
 * of each is told to the client, to the metrics, and to the log, where an image that stays refused is told of once
 * in 30 s.
 */
export class PendingJudgements {
  readonly #parts: PendingJudgementsParts;
  readonly #told: ExpiringMap<string, true>;
  readonly #running = new Set<Promise<unknown>>();

  constructor(parts: PendingJudgementsParts) {
    this.#parts = parts;
    this.#told = new ExpiringMap({ max: MAX_TOLD, clock: parts.clock });
  }

  /** Throws the `RegistryError` that the client is told; under audit nothing. */
  async admit(asked: Asked, askedAt: number, judge: () => Promise<Found>): Promise<void> {
    const found = this.#find(asked, judge);
    if (asked.rule.mode === 'audit') return;
    const refused = refusalOf(asked, await this.#within(found, asked, askedAt));
    if (refused) throw refused;
  }

  /** Goes on when the client has gone: who asks again finds it done. */
  async #find(asked: Asked, judge: () => Promise<Found>): Promise<Found> {
    const found = settled(judge);
    const told = found.then((verdict) => this.#tell(asked, verdict));
    this.#running.add(told);
    void told.finally(() => this.#running.delete(told));
    return found;
  }

  async #within(found: Promise<Found>, asked: Asked, askedAt: number): Promise<Found> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const leftMs = askedAt + PATIENCE_MS - this.#parts.clock.steady();
    const timer = setTimeout(
      () => reject(unavailable(TEXTS.pending({ image: imageOf(asked) }))),
      Math.max(0, leftMs),
    );
    try {
      return await Promise.race([found, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #tell({ rule, ...image }: Asked, verdict: Found): void {
    if (verdict === 'unlisted') return;
    for (const each of verdict.rules ?? [rule]) this.#tellOf({ ...image, rule: each }, verdict);
  }

  #tellOf(asked: Asked, verdict: Verdict): void {
    const { log, metrics } = this.#parts;
    const { mode, name: rule } = asked.rule;
    metrics.admission.verdicts.inc({ rule, mode, outcome: verdict.is });
    const key = `${rule} ${imageOf(asked)}`;
    if (verdict.is === 'admitted' || this.#told.has(key)) return;
    this.#told.set(key, true, TOLD_MS);
    const about = { image: imageOf(asked), rule, reason: reasonOf(verdict) };
    if (mode === 'audit') log.warn(about, 'a rule of admission would refuse this image');
    else log.warn(about, 'a rule of admission refuses this image');
  }

  /** Resolves when none runs. */
  async closed(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}

/** What the client is told; nothing where it may have it. */
function refusalOf(asked: Asked, verdict: Found): RegistryError | undefined {
  const image = imageOf(asked);
  if (verdict === 'unlisted') {
    const name = formatTarget(asked.target);
    return new GateRefusal(TEXTS.pullFirst({ image: name }));
  }
  if (verdict.is === 'admitted') return undefined;
  const { name: rule } = verdict.rules?.[0] ?? asked.rule;
  const about = { image, rule, reason: reasonOf(verdict) };
  if (verdict.is === 'unknown' && !verdict.isOffline) return unavailable(TEXTS.unknown(about));
  const asks = verdict.is === 'refused' ? (verdict.asks ?? 'signedBy') : 'signedBy';
  return new GateRefusal(TEXTS.refused({ ...about, asks, remedy: remedyOf(verdict) }));
}

function remedyOf(
  verdict: Exclude<Verdict, { is: 'admitted' }>,
): Parameters<typeof TEXTS.refused>[0]['remedy'] {
  if (verdict.is === 'unknown') return 'brought';
  const {
    asks = 'signedBy',
    refusals: [first],
  } = verdict;
  return asks === 'vulnerabilities' && first?.code !== 'vulnerable' ? 'report' : asks;
}

/** What cannot be found out is not known. */
export async function settled<Judged extends Found>(
  judge: () => Promise<Judged>,
): Promise<Judged | Extract<Verdict, { readonly is: 'unknown' }>> {
  try {
    return await judge();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { is: 'unknown', reason, isOffline: false };
  }
}

function unavailable(message: string): RegistryError {
  return new RegistryError('UNAVAILABLE', { status: 503, message, headers: RETRY_AFTER });
}

function imageOf({ target, digest }: Asked): string {
  return `${formatTarget(target)}@${digest}`;
}
