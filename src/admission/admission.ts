import type { Config } from '../config/config.ts';
import { parseGlobs } from '../config/glob.ts';
import type { Attachments, Gate } from '../mirror/mirror.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { Judge, type Demands } from './judge.ts';
import { TEXTS } from './texts.ts';
import { Trust } from './trust.ts';
import type { Signer } from './verdict.ts';
import type { Verdict } from './verdicts.ts';

export interface AdmissionParts {
  readonly config: Pick<Config, 'admission'>;
  readonly attachments: () => Attachments;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'admission'>;
}

type RuleConfig = NonNullable<Config['admission']>['rules'][number];

interface Rule {
  /** As it is told: where it stands. */
  readonly name: string;
  readonly mode: 'audit' | 'enforce';
  readonly isAbout: (image: string) => boolean;
  readonly signers: readonly Signer[];
  readonly mark: string;
}

interface Asked {
  readonly target: Target;
  readonly digest: Digest;
  readonly rule: Rule;
}

type Found = Verdict | 'unlisted';

/** From the client's request on, until it is told to ask again. */
const PATIENCE_MS = 20_000;
const RETRY_AFTER = { 'Retry-After': '5' };
/** An image that stays refused is told of so often. */
const TOLD_MS = 30_000;
const MAX_TOLD = 10_000;

/**
 * What may be pulled: an image has to meet every rule about its repository. Where one enforces and is not
 * met, nothing of the image leaves but its signatures; one that audits only tells what it would refuse. A
 * client waits for 20 s at most, from its request on.
 */
export class Admission implements Gate {
  readonly #parts: AdmissionParts;
  readonly #judge: Judge;
  readonly #told: ExpiringMap<string, true>;
  readonly #running = new Set<Promise<unknown>>();
  #rules: readonly Rule[] = [];
  #trust: Trust | undefined;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    this.#judge = new Judge(parts);
    this.#told = new ExpiringMap({ max: MAX_TOLD, clock: parts.clock });
    this.configure(parts.config);
  }

  /** These rules count from now on, for what is held too. */
  configure({ admission }: Pick<Config, 'admission'>): void {
    this.#trust = admission && new Trust(admission.trust, this.#parts.log);
    this.#rules = (admission?.rules ?? []).flatMap(openRule);
  }

  async pass(target: Target, digest: Digest, askedAt: number): Promise<void> {
    for (const rule of this.#about(target)) {
      const asked = { target, digest, rule };
      const judge = async (demands: Demands): Promise<Found> =>
        this.#judge.manifest(target, digest, demands);
      await this.#hold(asked, askedAt, judge);
    }
  }

  async passBlob(target: Target, digest: Digest, askedAt: number): Promise<void> {
    for (const rule of this.#about(target)) {
      // What would be refused is told of its manifest.
      if (rule.mode === 'audit') continue;
      const judge = async (demands: Demands): Promise<Found> =>
        this.#judge.blob(target, digest, demands);
      await this.#hold({ target, digest, rule }, askedAt, judge);
    }
  }

  /** Why a held image would be refused by what is held of it; nothing is asked of an upstream. */
  async refusal(target: Target, digest: Digest): Promise<string | undefined> {
    for (const rule of this.#about(target)) {
      if (rule.mode === 'audit') continue;
      const { name, signers, mark } = rule;
      try {
        const trusted = await this.#trust!.current();
        const demands = { signers, mark, trusted, reach: 'held' } as const;
        const verdict = await this.#judge.manifest(target, digest, demands);
        if (verdict.is !== 'admitted') return TEXTS.heldUnsigned({ rule: name });
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    }
    return undefined;
  }

  /** Resolves when no judgement runs. */
  async close(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #about(target: Target): readonly Rule[] {
    if (this.#rules.length === 0) return [];
    const image = formatTarget(target);
    return this.#rules.filter((rule) => rule.isAbout(image));
  }

  async #hold(
    asked: Asked,
    askedAt: number,
    judge: (demands: Demands) => Promise<Found>,
  ): Promise<void> {
    const found = this.#find(asked, judge);
    if (asked.rule.mode === 'audit') return;
    const refused = refusalOf(asked, await this.#within(found, asked, askedAt));
    if (refused) throw refused;
  }

  /** Goes on when the client has gone: who asks again finds it done. */
  async #find(asked: Asked, judge: (demands: Demands) => Promise<Found>): Promise<Found> {
    const { signers, mark } = asked.rule;
    const found = (async (): Promise<Found> => {
      try {
        const trusted = await this.#trust!.current();
        return await judge({ signers, mark, trusted });
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        return { is: 'unknown', reason, isOffline: false };
      }
    })();
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

  #tell(asked: Asked, verdict: Found): void {
    if (verdict === 'unlisted') return;
    const { log, metrics } = this.#parts;
    const { mode, name: rule } = asked.rule;
    metrics.admission.verdicts.inc({ mode, outcome: verdict.is });
    const key = `${rule} ${imageOf(asked)}`;
    if (verdict.is === 'admitted' || this.#told.has(key)) return;
    this.#told.set(key, true, TOLD_MS);
    const about = { image: imageOf(asked), rule, reason: reasonOf(verdict) };
    if (mode === 'audit') log.warn(about, 'a rule of admission would refuse this image');
    else log.warn(about, 'a rule of admission refuses this image');
  }
}

function openRule({ images, mode, signedBy }: RuleConfig, place: number): readonly Rule[] {
  if (mode === 'off') return [];
  // What names neither is nobody: a rule that cannot be met refuses.
  const signers = signedBy.map(({ key, identity = '', issuer = '' }): Signer =>
    key === undefined ? { kind: 'keyless', identity, issuer } : { kind: 'key', key },
  );
  const name = `admission.rules[${place}]`;
  return [{ name, mode, isAbout: parseGlobs(images), signers, mark: JSON.stringify(signers) }];
}

/** What the client is told; nothing where it may have it. */
function refusalOf(asked: Asked, verdict: Found): RegistryError | undefined {
  const image = imageOf(asked);
  if (verdict === 'unlisted') {
    const name = formatTarget(asked.target);
    return new RegistryError('DENIED', { message: TEXTS.pullFirst({ image: name }) });
  }
  if (verdict.is === 'admitted') return undefined;
  const about = { image, rule: asked.rule.name, reason: reasonOf(verdict) };
  if (verdict.is === 'unknown' && !verdict.isOffline) return unavailable(TEXTS.unknown(about));
  return new RegistryError('DENIED', { message: TEXTS.refused(about) });
}

function reasonOf(verdict: Exclude<Verdict, { is: 'admitted' }>): string {
  if (verdict.is === 'unknown') return verdict.isOffline ? TEXTS.offline : verdict.reason;
  const [first, ...others] = verdict.refusals;
  return TEXTS.moreReasons({ reason: first?.reason ?? TEXTS.unsigned, more: others.length });
}

function unavailable(message: string): RegistryError {
  return new RegistryError('UNAVAILABLE', { status: 503, message, headers: RETRY_AFTER });
}

function imageOf({ target, digest }: Asked): string {
  return `${formatTarget(target)}@${digest}`;
}
