import type { AdmissionRuleReport } from '../api/admission-api.ts';
import type { Config } from '../config/config.ts';
import { urlOf } from '../config/listen.ts';
import type { Attachments, Gate, TaggedManifest } from '../mirror/mirror.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import type { Clock } from '../time/clock.ts';
import type { How } from './condition.ts';
import { FirstSights } from './first-sights.ts';
import { PendingJudgements, settled, type Asked, type Ruling } from './pending-judgements.ts';
import { LastAdmitted } from './last-admitted.ts';
import { Judge } from './judge.ts';
import type { MinAge } from './min-age.ts';
import { OpenedScanning } from './opened-scanning.ts';
import { reasonOf } from './reason.ts';
import { openRules, type Rule } from './rule.ts';
import { reportRule } from './rule-report.ts';
import type { ScanningParts } from './scanning.ts';
import { TEXTS } from './texts.ts';
import { Trust } from './trust.ts';
import { Verdicts } from './verdicts.ts';

export interface AdmissionParts extends ScanningParts {
  readonly config: Pick<Config, 'admission' | 'listen'>;
  readonly attachments: () => Attachments;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'admission'>;
  /** What outlives a restart. */
  readonly catalog: Pick<Catalog, 'admission' | 'scans' | 'watch'>;
  readonly pins: {
    /** Asked why an image that no pin means must stay. */
    keepAlso(why: LastAdmitted['whyKept'] | undefined): void;
  };
  /** Of the program. */
  readonly version: string;
}

const HELD: How = { reach: 'held' };

/**
 * What may be pulled: an image has to meet every rule about its repository. Where one enforces and is not
 * met, nothing of the image leaves but its signatures; one that audits only tells what it would refuse.
 */
export class Admission implements Gate {
  readonly #parts: AdmissionParts;
  readonly #judge: Judge;
  readonly #verdicts: Verdicts;
  readonly #sights: FirstSights;
  readonly #last: LastAdmitted;
  readonly #scanning: OpenedScanning;
  readonly #pending: PendingJudgements;
  #rules: readonly Rule[] = [];
  #trust: Trust | undefined;
  #isWorking = false;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    this.#judge = new Judge(parts);
    const facts = parts.catalog.admission;
    this.#verdicts = new Verdicts({ ...parts, facts });
    this.#sights = new FirstSights({ ...parts, facts });
    this.#scanning = new OpenedScanning(parts);
    this.#pending = new PendingJudgements(parts);
    this.#last = new LastAdmitted({
      ...parts,
      facts,
      isYoung: async (...image) => this.#isYoung(...image),
      wasAdmitted: async (...image) => this.#wasAdmitted(...image),
    });
    parts.catalog.watch((target, moves) => {
      if (moves.length > 0 && this.#aged(target).length > 0) this.#last.moved(target, moves);
    });
    this.configure(parts.config);
  }

  /** These rules count from now on, for what is held too. */
  configure({ admission, listen }: AdmissionParts['config']): void {
    const { log, metrics, pins } = this.#parts;
    const scanner = admission?.scanner;
    this.#scanning.configure(scanner && { registry: urlOf(listen), ...scanner });
    this.#rules = [];
    this.#trust = undefined;
    pins.keepAlso(undefined);
    if (!admission) return;
    const trust = new Trust(admission.trust, log);
    this.#trust = trust;
    const lasting = { verdicts: this.#verdicts, sights: this.#sights };
    const scanning = async () => this.#scanning.open();
    this.#rules = openRules(admission.rules, { ...this.#parts, trust, scanning, ...lasting });
    metrics.admission.startAt(this.#rules);
    const isAged = this.#rules.some(({ minAge }) => minAge);
    if (isAged) pins.keepAlso(async (...image) => this.#last.whyKept(...image));
    if (this.#isWorking) this.work();
  }

  /** Begins what goes on beside the pulls: what was scanned is kept up to date. */
  work(): void {
    this.#isWorking = true;
    const isScanning = this.#rules.some(({ conditions }) =>
      conditions.some(({ asks }) => asks === 'vulnerabilities'),
    );
    if (isScanning) void this.#scanning.open();
  }

  /** What a scrape finds: a look at one file. */
  async measure(): Promise<void> {
    const { rootWrittenAt } = this.#parts.metrics.admission;
    const at = await this.#trust?.rootWrittenAt();
    if (at === undefined) rootWrittenAt.remove();
    else rootWrittenAt.set(at / 1000);
  }

  async pass(target: Target, digest: Digest, askedAt: number): Promise<void> {
    for (const rule of this.#about(target)) {
      const asked = { target, digest, rule };
      await this.#pending.admit(asked, askedAt, async () =>
        this.#judge.manifest(target, digest, rule),
      );
    }
  }

  async passTag(image: TaggedManifest, askedAt: number): Promise<Digest> {
    const { target, tag, digest } = image;
    try {
      await this.pass(target, digest, askedAt);
    } catch (error) {
      const last = await this.#insteadOf(image).catch(() => undefined);
      if (!last) throw error;
      // Where that one is refused too, the one that the tag means is told of.
      await this.pass(target, last, askedAt).catch(() => Promise.reject(error));
      return last;
    }
    if (this.#aged(target).length > 0) this.#last.admitted(target, tag, digest);
    return digest;
  }

  async passBlob(target: Target, digest: Digest, askedAt: number): Promise<void> {
    // What would be refused is told of its manifest.
    const rules = this.#about(target).filter(({ mode }) => mode === 'enforce');
    const [rule] = rules;
    if (!rule) return;
    await this.#pending.admit({ target, digest, rule }, askedAt, async () => {
      const judge = async (manifest: Digest, how: How) =>
        this.#judgeBy(rules, { target, digest: manifest }, how);
      return (await this.#judge.blob(target, digest, judge)) ?? 'unlisted';
    });
  }

  /** Whether a rule is about it, that refuses or tells. */
  isJudged(target: Target): boolean {
    return this.#about(target).length > 0;
  }

  /** Whether one of them refuses. */
  isEnforced(target: Target): boolean {
    return this.#about(target).some(({ mode }) => mode === 'enforce');
  }

  /** What each rule about it says, and why. */
  async report(target: Target, digest: Digest, how: How): Promise<AdmissionRuleReport[]> {
    const asked = { target, digest, how, judge: this.#judge };
    return Promise.all(this.#about(target).map(async (rule) => reportRule(rule, asked)));
  }

  /** Why a held image may not leave; with `held`, by what is held of it alone. */
  async refusal(target: Target, digest: Digest, how: How = {}): Promise<string | undefined> {
    for (const rule of this.#about(target)) {
      if (rule.mode === 'audit') continue;
      const demands = { conditions: rule.conditions, ...how };
      try {
        const verdict = await this.#judge.manifest(target, digest, demands);
        if (verdict.is === 'admitted') continue;
        const about = { rule: rule.name, reason: reasonOf(verdict) };
        return how.reach === 'held' ? TEXTS.heldRefused(about) : TEXTS.mayNotLeave(about);
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    }
    return undefined;
  }

  /** Resolves when no judgement runs, and what was found out is written; scans end at once. */
  async close(): Promise<void> {
    await this.#scanning.close();
    await this.#pending.closed();
    await this.#last.noted();
    await this.#verdicts.written();
  }

  /** Rules about it that refuse what is too young. */
  #aged(target: Target): readonly MinAge[] {
    const enforced = this.#about(target).filter(({ mode }) => mode === 'enforce');
    return enforced.flatMap(({ minAge }) => minAge ?? []);
  }

  async #isYoung(target: Target, digest: Digest): Promise<boolean> {
    for (const minAge of this.#aged(target)) {
      if ((await minAge.judge(target, digest, HELD)).is === 'refused') return true;
    }
    return false;
  }

  /** What the tag last had admitted, where what it means now is too young. */
  async #insteadOf({ target, tag, digest }: TaggedManifest): Promise<Digest | undefined> {
    if (!(await this.#isYoung(target, digest))) return undefined;
    const last = await this.#last.find(target, tag);
    return last === digest ? undefined : last;
  }

  async #wasAdmitted(target: Target, digest: Digest, at: number): Promise<boolean> {
    for (const minAge of this.#aged(target)) {
      if ((await minAge.passesAt(target, digest, HELD)) > at) return false;
    }
    return (await this.refusal(target, digest, HELD)) === undefined;
  }

  #about(target: Target): readonly Rule[] {
    if (this.#rules.length === 0) return [];
    const image = formatTarget(target);
    return this.#rules.filter((rule) => rule.isAbout(image));
  }

  /** One manifest has to meet all of them: the first that it does not meet decides. Never rejects. */
  async #judgeBy(
    rules: readonly Rule[],
    { target, digest }: Omit<Asked, 'rule'>,
    how: How,
  ): Promise<Ruling> {
    for (const rule of rules) {
      const demands = { conditions: rule.conditions, ...how };
      const verdict = await settled(async () => this.#judge.manifest(target, digest, demands));
      if (verdict.is !== 'admitted') return { ...verdict, rules: [rule] };
    }
    return { is: 'admitted', rules };
  }
}
