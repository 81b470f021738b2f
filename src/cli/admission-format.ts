import type {
  AdmissionConditionReport,
  AdmissionReport,
  AdmissionRuleReport,
  FindingReport,
  SignatureReport,
} from '../api/admission-api.ts';
import { formatLabelled, formatTable, shortDigest } from './format.ts';
import type { RuleNames } from './rule-names.ts';
import { TEXTS } from './texts.ts';

interface Layout {
  readonly rules: RuleNames;
  /** Of the terminal, where it is one. */
  readonly columns: number | undefined;
}

interface Told extends Layout {
  /** That is judged, with its digest. */
  readonly image: string;
}

/** What is told of one condition stands below it. */
const INDENT = '      ';
/** The longest name of a condition. */
const NAME_WIDTH = 'vulnerabilities'.length;

/** What each rule of admission says of an image, with all that it looked at. */
export function formatAdmission(report: AdmissionReport, layout: Layout): string {
  const { image, rules, reason } = report;
  const { columns } = layout;
  const facts = [
    formatLabelled('  admission  ', outcomeOf(report), columns),
    ...(rules.length > 0 ? [formatLabelled('  judged     ', image, columns)] : []),
    ...(reason === undefined ? [] : [formatLabelled('  because    ', reason, columns)]),
  ];
  return [...facts, ...rules.map((rule) => formatRule(rule, { ...layout, image }))].join('');
}

/** What it comes to: a rule that only audits keeps nothing back. */
function outcomeOf({ isAllowed, rules }: AdmissionReport): string {
  if (isAllowed) {
    const isWhole = rules.every(({ outcome }) => outcome === 'admitted');
    return isWhole ? TEXTS.admitted : TEXTS.admittedByAudit;
  }
  const isRefused = rules.some(({ mode, outcome }) => mode === 'enforce' && outcome === 'refused');
  return isRefused ? TEXTS.refused : TEXTS.undecided;
}

/** What a rule says, in one line. */
export function describeRule(rule: AdmissionRuleReport, rules: RuleNames): string {
  const { mode, outcome } = rule;
  const why = describeUnmet(rule);
  return TEXTS.admissionRule({
    rule: rules.name(rule),
    outcome: mode === 'audit' && outcome !== 'admitted' ? TEXTS.wouldBe({ outcome }) : outcome,
    why: why === '' ? '' : `: ${why}`,
  });
}

/** Which condition of a rule is not met first, and why; nothing where all are. */
export function describeUnmet({ reason, conditions }: AdmissionRuleReport): string {
  const unmet = conditions.find(({ outcome }) => outcome !== 'admitted');
  return unmet ? `${unmet.asks}: ${unmet.reason ?? unmet.outcome}` : (reason ?? '');
}

function formatRule(rule: AdmissionRuleReport, layout: Told): string {
  const { columns, rules } = layout;
  const { mode, outcome, reason, conditions } = rule;
  const isNothing = conditions.length === 0 && outcome === 'admitted';
  const told = isNothing ? TEXTS.askedNothing : reason;
  const why = told === undefined ? '' : `, ${told}`;
  const title = TEXTS.admissionTitle({ rule: rules.name(rule), mode, outcome: `${outcome}${why}` });
  return [
    formatLabelled('  ', title, columns),
    ...conditions.map((condition) => formatCondition(condition, layout)),
  ].join('');
}

function formatCondition(condition: AdmissionConditionReport, layout: Told): string {
  const { columns } = layout;
  const { asks, outcome, reason, until, signatures = [], findings = [], moreFindings } = condition;
  const why = reason === undefined ? '' : `: ${reason}`;
  // Why it is refused tells when it passes.
  const isEnding = until !== undefined && outcome === 'admitted';
  const end = isEnding ? `, ${TEXTS.until({ at: new Date(until).toISOString() })}` : '';
  const label = `    ${asks.padEnd(NAME_WIDTH)}  `;
  const more = moreFindings === undefined ? [] : [TEXTS.moreFindings({ more: moreFindings })];
  return [
    formatLabelled(label, `${outcome}${why}${end}`, columns),
    ...signatures.map((each) => formatSignature(each, layout)),
    formatFindings(findings, columns),
    ...more.map((line) => formatLabelled(INDENT, line, columns)),
  ].join('');
}

function formatSignature(signature: SignatureReport, { columns, image }: Told): string {
  const { carrier, subject, counts, key, identity, issuer, at, reason } = signature;
  const who =
    key === undefined
      ? TEXTS.byIdentity({ identity: identity ?? '', issuer })
      : TEXTS.byKey({ key });
  const when = at === undefined ? '' : `, ${TEXTS.seen({ at: new Date(at).toISOString() })}`;
  const doubt = reason === undefined ? '' : `, ${TEXTS.doubted({ reason })}`;
  const what = counts
    ? `${TEXTS.counts}: ${who}${when}${doubt}`
    : `${TEXTS.countsNot}: ${reason ?? ''}`;
  // Of what is judged itself there is no need to say it.
  const whose = image.endsWith(subject) ? '' : `, ${TEXTS.ofSubject({ subject })}`;
  return formatLabelled(`${INDENT}${shortDigest(carrier)}  `, `${what}${whose}`, columns);
}

function formatFindings(findings: readonly FindingReport[], columns: number | undefined): string {
  if (findings.length === 0) return '';
  const heading = ['FINDING', 'SEVERITY', 'PACKAGE', 'MENDED', 'STATE'];
  const rows = findings.map((finding) => {
    const { id, severity, version, fixVersion = '', counts, reason } = finding;
    const state = counts ? TEXTS.counts : `${TEXTS.lifted}: ${reason ?? ''}`;
    return [id, severity, `${finding.package} ${version}`, fixVersion, state];
  });
  const inner = columns === undefined ? undefined : columns - INDENT.length;
  return formatTable([heading, ...rows], inner).replaceAll(/^(?=.)/gm, INDENT);
}
