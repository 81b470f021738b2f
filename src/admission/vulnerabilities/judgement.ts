import { SEVERITIES } from '../../config/vulnerabilities-schema.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Finding } from './report.ts';
import { isAbove, type Severity } from './severity.ts';
import { Statements } from './statements.ts';
import { TEXTS } from './texts.ts';
import type { VexStatement } from './vex.ts';

/** Somebody answers for it that a finding does not count. */
export interface VulnerabilityException {
  /** The vulnerability by any of its names; left out: all of the digest. */
  readonly cve?: string | undefined;
  /** Of this image alone; left out: of each that the rule is about. One of the two is there. */
  readonly digest?: Digest | undefined;
  readonly reason: string;
  readonly owner: string;
  /** Milliseconds since 1970: from then on it does not count. */
  readonly until: number;
}

export interface VulnerabilityPolicy {
  /** Findings above this refuse the image. */
  readonly atMost: Severity;
  /** What a finding counts as that nobody has rated; `unknown` itself is below everything, as in Harbor. */
  readonly unknown: Severity;
  /** What nobody has mended yet does not count. */
  readonly fixableOnly: boolean;
  readonly exceptions: readonly VulnerabilityException[];
}

/** What lifted a finding that is above the line. */
export type Lift =
  | { readonly by: 'no-fix' }
  | { readonly by: 'exception'; readonly exception: VulnerabilityException }
  | { readonly by: 'statement'; readonly statement: VexStatement };

export interface LiftedFinding {
  readonly finding: Finding;
  readonly lift: Lift;
}

interface Judged {
  /** Findings above the line that do not count, and why. */
  readonly lifted: readonly LiftedFinding[];
  /** Exceptions that would lift a finding if they had not ended. */
  readonly ended: readonly VulnerabilityException[];
}

export type Judgement =
  | (Judged & {
      readonly kind: 'admitted';
      /** Milliseconds since 1970: when the first exception ends that it needs; `undefined`: it needs none. */
      readonly validUntil: number | undefined;
    })
  | (Judged & {
      readonly kind: 'refused';
      readonly code: 'vulnerable';
      readonly reason: string;
      /** Those above the line that count, the worst first. */
      readonly findings: readonly Finding[];
    });

export interface Judging {
  readonly findings: readonly Finding[];
  readonly policy: VulnerabilityPolicy;
  /** Of the image that is judged. */
  readonly statements: readonly VexStatement[];
  /** Of the image, and of the index that it was admitted with. */
  readonly digests: readonly Digest[];
  /** Milliseconds since 1970. */
  readonly now: number;
}

const MAX_TOLD = 5;

/**
 * Whether findings refuse an image. One above the line counts unless there is no fix and only fixable ones
 * count, an exception that has not ended names it, or the newest statement about it says that it is not
 * affected, with a justification, or that it is fixed.
 */
export function judgeFindings({ findings, policy, statements, digests, now }: Judging): Judgement {
  const exceptions = new Exceptions(policy.exceptions, digests, now);
  const said = new Statements(statements, now);
  const counting: Finding[] = [];
  const lifted: LiftedFinding[] = [];
  for (const finding of findings) {
    if (!isAbove(ratingOf(finding, policy), policy.atMost)) continue;
    const lift = liftOf(finding, { policy, exceptions, said });
    if (lift) lifted.push({ finding, lift });
    else counting.push(finding);
  }
  const judged = { lifted, ended: exceptions.ended };
  if (counting.length === 0) {
    return { kind: 'admitted', ...judged, validUntil: endOf(lifted) };
  }
  const worst = counting.toSorted(
    (one, other) =>
      SEVERITIES.indexOf(ratingOf(other, policy)) - SEVERITIES.indexOf(ratingOf(one, policy)),
  );
  const reason = describe(worst, { ...judged, line: policy.atMost });
  return { kind: 'refused', code: 'vulnerable', reason, findings: worst, ...judged };
}

function ratingOf({ severity }: Finding, { unknown }: VulnerabilityPolicy): Severity {
  return severity === 'unknown' ? unknown : severity;
}

/** What lasts is looked for first: an exception has an end. */
function liftOf(
  finding: Finding,
  parts: { policy: VulnerabilityPolicy; exceptions: Exceptions; said: Statements },
): Lift | undefined {
  if (parts.policy.fixableOnly && finding.fixVersion === undefined) return { by: 'no-fix' };
  const statement = parts.said.lifting(finding);
  if (statement) return { by: 'statement', statement };
  const exception = parts.exceptions.find(finding);
  return exception && { by: 'exception', exception };
}

function endOf(lifted: readonly LiftedFinding[]): number | undefined {
  const ends = lifted.flatMap(({ lift }) =>
    lift.by === 'exception' ? [lift.exception.until] : [],
  );
  return ends.length === 0 ? undefined : Math.min(...new Set(ends));
}

function describe(
  findings: readonly Finding[],
  { ended, line }: Pick<Judged, 'ended'> & { readonly line: Severity },
): string {
  const told = findings.slice(0, MAX_TOLD).map((finding) => TEXTS.finding(finding));
  const count = findings.length - told.length;
  const list = told.join(', ');
  const all = count > 0 ? TEXTS.more({ told: list, count }) : list;
  const above = TEXTS.above({ count: findings.length, line, told: all });
  const ends = ended.slice(0, MAX_TOLD).map(({ cve, digest, owner, until }) => {
    const at = new Date(until).toISOString().slice(0, 10);
    return TEXTS.ended({ what: cve ?? digest ?? '', owner, at });
  });
  return [above, ...ends].join('; ');
}

/** Those of a rule that are about the image. */
class Exceptions {
  readonly ended: VulnerabilityException[] = [];
  readonly #now: number;
  /** Of all of the image. */
  readonly #whole: readonly VulnerabilityException[];
  readonly #byName: ReadonlyMap<string, readonly VulnerabilityException[]>;

  constructor(all: readonly VulnerabilityException[], digests: readonly Digest[], now: number) {
    this.#now = now;
    const own = all.filter(({ digest }) => digest === undefined || digests.includes(digest));
    this.#whole = own.filter(({ cve, digest }) => cve === undefined && digest !== undefined);
    this.#byName = Map.groupBy(
      own.filter(({ cve }) => cve !== undefined),
      ({ cve = '' }) => cve.toUpperCase(),
    );
  }

  /** The one that lasts longest. Those that have ended are remembered. */
  find({ id, aliases }: Finding): VulnerabilityException | undefined {
    const named = [id, ...aliases].flatMap((name) => this.#byName.get(name.toUpperCase()) ?? []);
    const [longest] = [...this.#whole, ...named].toSorted((one, other) => other.until - one.until);
    if (!longest || longest.until > this.#now) return longest;
    if (!this.ended.includes(longest)) this.ended.push(longest);
    return undefined;
  }
}
