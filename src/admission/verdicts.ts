import type { Digest } from '../oci/digest.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { ConditionName, Refusal, Verified } from './verdict.ts';

/** What a rule says of an image. */
export type Verdict =
  | {
      readonly is: 'admitted';
      /** Left out for what no signature is asked of. */
      readonly by?: Verified;
      /** The manifest that carries the signature. */
      readonly carrier?: Digest;
    }
  | {
      readonly is: 'refused';
      readonly refusals: readonly Refusal[];
      /** Of which condition of its rule. */
      readonly asks?: ConditionName;
    }
  /** Nobody knows: what would tell could not be had. */
  | { readonly is: 'unknown'; readonly reason: string; readonly isOffline: boolean };

const MAX_VERDICTS = 10_000;
const ADMITTED_MS = 3_600_000;
/** What is signed after it was refused is admitted by then. */
const REFUSED_MS = 30_000;
const UNKNOWN_MS = 2_000;

/**
 * Verdicts that were reached lately, 10,000 of them: a refusal counts for 30 s. One that admits counts for an
 * hour, and only while the signature that it rests on is held. A key says all that a verdict rests on besides.
 */
export class Verdicts {
  readonly #known: ExpiringMap<string, Verdict>;
  readonly #running = new Map<string, Promise<Verdict>>();

  constructor(clock: Clock) {
    this.#known = new ExpiringMap({ max: MAX_VERDICTS, clock });
  }

  async find(
    key: string,
    isHeld: (carrier: Digest) => Promise<boolean>,
  ): Promise<Verdict | undefined> {
    const known = this.#known.get(key);
    if (known?.is !== 'admitted' || known.carrier === undefined) return known;
    return (await isHeld(known.carrier)) ? known : undefined;
  }

  keep(key: string, verdict: Verdict): Verdict {
    const ttlMs = { admitted: ADMITTED_MS, refused: REFUSED_MS, unknown: UNKNOWN_MS };
    this.#known.set(key, verdict, ttlMs[verdict.is]);
    return verdict;
  }

  /** One judgement of a key at a time, which all who ask meanwhile share. */
  async reach(key: string, judge: () => Promise<Verdict>): Promise<Verdict> {
    const running = this.#running.get(key);
    if (running) return running;
    const reached = judge().then((verdict) => this.keep(key, verdict));
    this.#running.set(key, reached);
    return reached.finally(() => this.#running.delete(key));
  }
}
