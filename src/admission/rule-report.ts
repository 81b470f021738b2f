import type {
  AdmissionConditionReport,
  AdmissionRuleReport,
  AdmissionOutcome,
} from '../api/admission-api.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { Condition, Examined, How } from './condition.ts';
import type { Judge } from './judge.ts';
import type { Rule } from './rule.ts';
import { reasonOf } from './reason.ts';
import type { Verdict } from './verdict.ts';

interface Asked {
  readonly target: Target;
  readonly digest: Digest;
  readonly how: How;
  readonly judge: Judge;
}

/** What a rule says of a manifest, as the gate judges it, and what each of its conditions says. Never rejects. */
export async function reportRule(rule: Rule, asked: Asked): Promise<AdmissionRuleReport> {
  const { target, digest, how, judge } = asked;
  const { name: place, mode, images, conditions } = rule;
  const subjects = await judge.subjects(target, digest, how).catch(() => []);
  const subject = subjects.at(-1);
  const told: AdmissionConditionReport[] = [];
  for (const condition of subject ? conditions : []) {
    told.push(await reportCondition(condition, { ...asked, digest: subject! }));
  }
  // After those have looked: what they fetched counts for the verdict too.
  const found = await settled(async () => judge.manifest(target, digest, { conditions, ...how }));
  const isTold = told.some(({ outcome }) => outcome !== 'admitted');
  return {
    place,
    mode,
    images,
    ...(isTold ? { outcome: found.outcome } : found),
    conditions: told,
  };
}

async function reportCondition(
  condition: Condition,
  { target, digest, how }: Asked,
): Promise<AdmissionConditionReport> {
  const nothing = (): Examined => ({});
  const examined = (await condition.examine?.(target, digest, how).catch(nothing)) ?? {};
  // By what was looked at, which may be younger than a refusal.
  const found = await settled(async () => condition.judge(target, digest, how));
  return { asks: condition.asks, ...found, ...examined };
}

interface Found {
  readonly outcome: AdmissionOutcome;
  readonly reason?: string;
}

async function settled(judge: () => Promise<Verdict>): Promise<Found> {
  try {
    const verdict = await judge();
    if (verdict.is === 'admitted') return { outcome: verdict.is };
    // Where nobody is ever asked, clients are refused what is not known.
    const isNever = verdict.is === 'unknown' && verdict.isOffline;
    return { outcome: isNever ? 'refused' : verdict.is, reason: reasonOf(verdict) };
  } catch (error) {
    return { outcome: 'unknown', reason: error instanceof Error ? error.message : String(error) };
  }
}
