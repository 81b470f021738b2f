import type { FindingReport } from '../api/admission-api.ts';
import type { Examined } from './condition.ts';
import { TEXTS } from './texts.ts';
import type { Judgement, Lift } from './vulnerabilities/judgement.ts';
import type { Finding } from './vulnerabilities/report.ts';

/** More help nobody. */
const MAX_TOLD = 100;

/** Findings above the line, for people: those that count, then what does not and why. */
export function reportJudgement(judgement: Judgement): Examined {
  const counting = judgement.kind === 'refused' ? judgement.findings : [];
  const findings = [
    ...counting.map((finding) => reportFinding(finding)),
    ...judgement.lifted.map(({ finding, lift }) => reportFinding(finding, lift)),
  ];
  const until = judgement.kind === 'admitted' ? judgement.validUntil : undefined;
  const moreFindings = findings.length - MAX_TOLD;
  return {
    ...(until !== undefined && { until }),
    findings: findings.slice(0, MAX_TOLD),
    ...(moreFindings > 0 && { moreFindings }),
  };
}

function reportFinding(finding: Finding, lift?: Lift): FindingReport {
  const { id, severity, package: name, version, fixVersion } = finding;
  return {
    id,
    severity,
    package: name,
    version,
    ...(fixVersion !== undefined && { fixVersion }),
    counts: lift === undefined,
    ...(lift && { reason: whyLifted(lift) }),
  };
}

function whyLifted(lift: Lift): string {
  switch (lift.by) {
    case 'no-fix':
      return TEXTS.noFix;
    case 'exception': {
      const { owner, reason, until } = lift.exception;
      return TEXTS.excepted({ owner, reason, until: new Date(until).toISOString() });
    }
    case 'statement': {
      const { from, status } = lift.statement;
      return TEXTS.stated({ from, status: status.replaceAll('_', ' ') });
    }
  }
}
