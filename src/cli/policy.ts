import type { NearRule, PolicyReport, RuleReport, RuleVerdict } from '../api/access-api.ts';
import type { AdmissionRuleReport } from '../api/admission-api.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { formatAdmission } from './admission-format.ts';
import { withAdmin } from './admin-client.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { formatLabelled } from './format.ts';
import { RuleNames } from './rule-names.ts';
import { TEXTS } from './texts.ts';

/** Enough to see a slip. */
const MAX_GLOBS = 5;

interface PolicyOptions extends CommandOptions {
  readonly as?: readonly string[];
  readonly group?: readonly string[];
  readonly from?: string;
}

/**
 * Says whether an image may be pulled, by rules of admission and, for a subject, of access: 0 when all that were
 * asked give it.
 */
export async function checkPolicy(
  image: string,
  options: PolicyOptions,
  context: StoreContext,
): Promise<number> {
  const { as = [], group = [], from } = options;
  const loaded = loadConfig({ file: options.config, ...context });
  const names = [...as, ...group.map((name) => `group:${name}`)];
  const query = new URLSearchParams([
    ['image', image],
    ...names.map((name) => ['as', name]),
    ...(from === undefined ? [] : [['from', from]]),
  ]);
  const path = `/api/v1/policy?${query.toString()}`;
  const report = (await withAdmin(
    loaded.config,
    context,
    async (ask) => ask(path),
    'ignore',
  )) as PolicyReport;
  const rules = new RuleNames(loaded);
  const told = { rules, judged: judgedBy(loaded.config.admission?.rules) };
  print(options, context, withLines(report, rules), (columns) =>
    format(report, { ...told, columns }),
  );
  for (const name of report.unknown ?? [])
    context.stderr.write(`${TEXTS.policyUnknown({ name })}\n`);
  return report.isAllowed ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** What else is said of a subject needs one. */
export function checkPolicyOptions(
  _: readonly string[],
  { as, group, from }: Partial<PolicyOptions>,
): string | undefined {
  return as === undefined && (group ?? from) !== undefined ? TEXTS.policyNobody : undefined;
}

/** The report as it came, each rule with its line where the file has it. */
function withLines(report: PolicyReport, rules: RuleNames): object {
  const { access, admission, ...rest } = report;
  const lined = <Rule extends RuleReport | AdmissionRuleReport>(rule: Rule): Rule => ({
    ...rule,
    ...rules.lineOf(rule),
  });
  const judged = admission && {
    admission: { ...admission, rules: admission.rules.map(lined) },
  };
  if (!access) return { ...rest, ...judged };
  const verdict = (of: RuleVerdict): RuleVerdict =>
    of.isAllowed ? { ...of, by: lined(of.by) } : { ...of, nearest: of.nearest.map(lined) };
  return {
    ...rest,
    access: { pull: verdict(access.pull), list: verdict(access.list) },
    ...judged,
  };
}

/** What rules of admission are about, for whom expected one that is about something else. */
function judgedBy(rules: NonNullable<Config['admission']>['rules'] = []): string {
  const globs = new Set(rules.filter(({ mode }) => mode !== 'off').flatMap(({ images }) => images));
  const told = [...globs].slice(0, MAX_GLOBS).join(', ');
  return globs.size > MAX_GLOBS ? `${told}, …` : told;
}

function format(
  report: PolicyReport,
  { rules, judged, columns }: { rules: RuleNames; judged: string; columns: number | undefined },
): string {
  const { admission } = report;
  return [
    formatLabelled('', describeTitle(report), columns),
    ...describeAccess(report, rules).map(([name, fact]) =>
      formatLabelled(`  ${name.padEnd(4)}  `, fact, columns),
    ),
    admission ? formatAdmission(admission, { rules, columns }) : '',
    report.subject || admission
      ? ''
      : formatLabelled('  ', TEXTS.unjudged({ images: judged }), columns),
  ].join('');
}

function describeTitle({ image, subject, address }: PolicyReport): string {
  if (!subject) return image;
  const who = subject.length === 0 ? 'anonymous' : subject.join(', ');
  const from = address === undefined ? '' : ` from ${address}`;
  return TEXTS.policyTitle({ image, who: `${who}${from}` });
}

/** Nothing where nobody was asked about. */
function describeAccess(
  { subject, address, access }: PolicyReport,
  rules: RuleNames,
): readonly Fact[] {
  if (!subject) return [];
  return (['pull', 'list'] as const).flatMap((verb) =>
    access
      ? describeVerdict(verb, access[verb], { rules, address })
      : [[verb, TEXTS.policyOpen] as const],
  );
}

type Fact = readonly [name: string, fact: string];

interface Told {
  readonly rules: RuleNames;
  readonly address: string | undefined;
}

function describeVerdict(verb: string, verdict: RuleVerdict, told: Told): readonly Fact[] {
  if (verdict.isAllowed) {
    const { by } = verdict;
    const rule = told.rules.name(by);
    return [[verb, TEXTS.policyAllowed({ rule, what: describeRule(by) })]];
  }
  const { nearest } = verdict;
  return [
    [verb, nearest.length > 0 ? TEXTS.policyRefused : TEXTS.policyFar],
    ...nearest.map((rule) => ['', describeNear(verb, rule, told)] as const),
  ];
}

function describeRule({ who, from, may, images = [] }: RuleReport): string {
  const where = from ? ` from ${from.join(', ')}` : '';
  return `${who.join(', ')}${where} may ${may.join(', ')} ${images.join(', ')}`;
}

/** What of a rule keeps it from giving this. */
function describeNear(verb: string, near: NearRule, { rules, address }: Told): string {
  const rule = rules.name(near);
  const list = (texts: readonly string[] = []): string => texts.join(', ');
  switch (near.lacks) {
    case 'who':
      return TEXTS.policyOthers({ rule, who: list(near.who) });
    case 'images':
      return TEXTS.policyImages({ rule, images: list(near.images) });
    case 'may':
      return TEXTS.policyMay({ rule, may: list(near.may), verb });
    case 'from':
      return address === undefined
        ? TEXTS.policyUnknownFrom({ rule, from: list(near.from) })
        : TEXTS.policyFrom({ rule, from: list(near.from) });
  }
}
