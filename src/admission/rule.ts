import type { Config } from '../config/config.ts';
import { parseGlobs } from '../config/glob.ts';
import type { Attachments } from '../mirror/mirror.ts';
import type { Log } from '../observe/log.ts';
import type { Clock } from '../time/clock.ts';
import type { Condition } from './condition.ts';
import type { FirstSights } from './first-sights.ts';
import { MinAge } from './min-age.ts';
import type { Scanning } from './scanning.ts';
import { SignedBy } from './signed-by.ts';
import type { Trust } from './trust.ts';
import type { Signer } from './verdict.ts';
import type { Verdicts } from './verdicts.ts';

type RuleConfig = NonNullable<Config['admission']>['rules'][number];

/** A rule that is not off. */
export interface Rule {
  /** As it is told: where it stands. */
  readonly name: string;
  readonly mode: 'audit' | 'enforce';
  readonly images: readonly string[];
  readonly isAbout: (image: string) => boolean;
  /** One of the conditions. */
  readonly minAge?: MinAge | undefined;
  /** The cheapest first. */
  readonly conditions: readonly Condition[];
}

export interface RuleParts {
  readonly attachments: () => Attachments;
  readonly trust: Trust;
  readonly verdicts: Verdicts;
  readonly sights: FirstSights;
  readonly clock: Clock;
  readonly log: Log;
  /** Opened when something is first judged by it. */
  readonly scanning: () => Promise<Scanning>;
}

/** Those of the configuration that do something. */
export function openRules(rules: readonly RuleConfig[], parts: RuleParts): readonly Rule[] {
  return rules.flatMap((rule, place) => {
    const { images, mode, signedBy: signers, minAge: minAgeMs } = rule;
    if (mode === 'off') return [];
    const isTimed = minAgeMs !== undefined;
    const signedBy =
      signers && new SignedBy({ ...parts, isTimed, signers: signers.flatMap(signersOf) });
    const conditions: Condition[] = signedBy ? [signedBy] : [];
    const minAge =
      minAgeMs === undefined ? undefined : new MinAge({ ...parts, minAgeMs, signedBy });
    if (minAge) conditions.push(minAge);
    conditions.push(...fewVulnerabilities(rule, parts));
    const isAbout = parseGlobs(images);
    return [{ name: `admission.rules[${place}]`, mode, images, isAbout, minAge, conditions }];
  });
}

/** What they are judged by is loaded when it is first wanted. */
function fewVulnerabilities(
  { vulnerabilities, exceptions = [], signedBy = [], attestedBy = signedBy }: RuleConfig,
  { trust, verdicts, scanning }: RuleParts,
): readonly Condition[] {
  if (!vulnerabilities) return [];
  const asked = { vulnerabilities, exceptions };
  const signers = attestedBy.flatMap(signersOf);
  let opened: Promise<Condition> | undefined;
  const open = async () => (await scanning()).condition(asked, { trust, signers, verdicts });
  return [
    {
      asks: 'vulnerabilities',
      judge: async (...image) => (await (opened ??= open())).judge(...image),
      examine: async (...image) => (await (opened ??= open())).examine?.(...image) ?? {},
    },
  ];
}

/** What names neither is nobody: a rule that cannot be met refuses. */
function signersOf({
  key,
  identity = '',
  issuer = '',
  notation,
}: NonNullable<RuleConfig['signedBy']>[number]): readonly Signer[] {
  if (notation) {
    const { identities, level } = notation;
    return identities.map((each) => ({ kind: 'notation', identity: each, level }));
  }
  return [key === undefined ? { kind: 'keyless', identity, issuer } : { kind: 'key', key }];
}
