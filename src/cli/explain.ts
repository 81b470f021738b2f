import type { AdmissionReport } from '../api/admission-api.ts';
import type { RuleReport } from '../api/access-api.ts';
import type { ImageReport, ManifestReport } from '../api/store-api.ts';
import type { SyncImage, SyncProblem } from '../api/sync-api.ts';
import { loadConfig } from '../config/load.ts';
import { describeRule } from './admission-format.ts';
import { askOnce } from './admin-client.ts';
import {
  count,
  describeLack,
  describeOrigin,
  describePinReason,
  formatAge,
  formatLabelled,
  formatTable,
  onOneLine,
  roundSize,
  shortDigest,
  wholePercent,
} from './format.ts';
import { describeBundles, formatOrigin, formatOthers } from './blob-origin.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { RuleNames } from './rule-names.ts';
import { TEXTS } from './texts.ts';

/** What is held of an image, and what a rule of sync wants of it: either may be absent. */
type Explanation = (ImageReport | { readonly image: string; readonly digest?: never }) & {
  readonly sync?: SyncImage;
  /** Why the last run of sync did not get it. */
  readonly failure?: SyncProblem;
  /** The rules by which somebody may pull it; left out where everybody may pull everything. */
  readonly pullers?: readonly RuleReport[];
  /** By what is held; left out where no rule of admission is about it. */
  readonly admission?: AdmissionReport;
};

/**
 * Prints what is held of an image, what is missing, what keeps it, what a rule wants of it, who may pull it, and
 * whether it may be pulled by what is held. Nothing held is a failure.
 */
export async function explain(
  image: string,
  options: CommandOptions,
  context: StoreContext,
): Promise<number> {
  const path = `/api/v1/explain?${new URLSearchParams({ image }).toString()}`;
  const document = await askOnce<Explanation>(options, context, { path });
  const rules = new RuleNames(loadConfig({ file: options.config, ...context }));
  print(options, context, document, (columns) =>
    formatExplanation(document, { now: context.now(), columns, rules }),
  );
  return document.digest === undefined ? EXIT_CODE.failed : EXIT_CODE.ok;
}

type Fact = readonly [name: string, fact: string];

interface Layout {
  readonly now: number;
  /** Of the terminal, where it is one. */
  readonly columns: number | undefined;
  readonly rules: RuleNames;
}

function formatExplanation(document: Explanation, layout: Layout): string {
  const { sync, failure, pullers, admission } = document;
  const { now, columns, rules } = layout;
  const wanted = [
    ...(sync ? describeWanted(sync, now) : []),
    ...(failure ? describeFailure(failure, sync) : []),
    ...(pullers ? describePullers(pullers, rules) : []),
    ...(admission?.rules ?? []).map((rule) => ['verdict', describeRule(rule, rules)] as const),
  ];
  if (document.digest !== undefined) return formatReport(document, wanted, layout);
  const facts: readonly Fact[] = [['state', TEXTS.notHeld], ...wanted];
  return `${onOneLine(document.image)}\n${formatFacts(facts, columns)}`;
}

function formatFacts(facts: readonly Fact[], columns: number | undefined): string {
  return facts
    .map(([name, fact]) => formatLabelled(`  ${name.padEnd(8)} `, fact, columns))
    .join('');
}

/** Whom rules give it, rule by rule. */
function describePullers(pullers: readonly RuleReport[], rules: RuleNames): readonly Fact[] {
  if (pullers.length === 0) return [['access', TEXTS.noPullers]];
  return pullers.map((rule) => {
    const from = rule.from ? ` from ${rule.from.join(', ')}` : '';
    const who = `${rule.who.join(', ')}${from}`;
    return ['access', TEXTS.pullers({ rule: rules.name(rule), who })];
  });
}

/** Of a rule that could not be resolved, nothing but its name and the reason is known. */
function describeFailure({ rule, image, reason }: SyncProblem, sync?: SyncImage): readonly Fact[] {
  const of = sync ? '' : `${image}: `;
  const known: readonly Fact[] = sync ? [] : [['rule', rule]];
  return [...known, ['failed', `${of}${reason}`]];
}

/** Which rule wants what, what of it is missing, and why. */
function describeWanted(wanted: SyncImage, now: number): readonly Fact[] {
  const { rule, platforms, digest, state, missing, missingBytes, checkedAt, reason } = wanted;
  const lack = missingBytes === 0 ? '' : `, ${roundSize(missingBytes)} missing`;
  const why = reason === undefined ? '' : `: ${reason}`;
  const unnamed = missingBytes - missing.reduce((sum, { size }) => sum + size, 0);
  return [
    ['rule', `${rule}, ${platforms === 'all' ? 'all platforms' : platforms.join(', ')}`],
    ['wanted', `${digest}, checked ${formatAge(checkedAt, now)}`],
    ['sync', `${state}${lack}${why}`],
    ...missing.map((blob) => ['missing', `${blob.digest}, ${roundSize(blob.size)}`] as const),
    ...(unnamed > 0 ? ([['missing', `and more, ${roundSize(unnamed)}`]] as const) : []),
  ];
}

function formatReport(
  report: ImageReport,
  wanted: readonly Fact[],
  { now, columns }: Layout,
): string {
  const { image, tags, digest, mediaType, bytes, ownBytes, state } = report;
  const { attachedMissingBytes: attached } = report;
  const ago = (at: number): string => formatAge(at, now);
  const facts: readonly Fact[] = [
    ['digest', digest],
    ['type', mediaType],
    ['state', state === 'complete' ? state : `${state}, ${describeLack(report)}`],
    ...describeArrived(report.manifests),
    ...(attached === undefined
      ? []
      : [['attached', TEXTS.attachedMissing({ bytes: roundSize(attached) })] as const]),
    ['size', TEXTS.size({ bytes: roundSize(bytes), own: roundSize(ownBytes) })],
    ['stored', ago(report.storedAt)],
    ['pulled', ago(report.lastPulledAt)],
    ['pulls', String(report.pulls)],
    ...Object.entries(report.tagsCheckedAt).map(
      ([tag, at]) => ['checked', `${tag} ${ago(at)}`] as const,
    ),
    ...report.pins.map((pin) => {
      const why = describePinReason(pin);
      const reason = why === '' ? '' : `: ${why}`;
      return [
        'pinned',
        `${describeOrigin(pin)} as ${pin.image} ${ago(pin.since)}${reason}`,
      ] as const;
    }),
    ...report.partOf.map((root) => ['part of', root] as const),
    ...describeBundles(report.manifests).map((bundle) => ['bundle', bundle] as const),
    ...wanted,
  ];
  const rows = report.manifests.map((manifest) => describeManifest(manifest, now));
  const heading = ['MANIFEST', 'ROLE', 'PLATFORM', 'SIZE', 'STATE', 'FROM'];
  const title = tags.length === 0 ? image : `${image}:${tags.join(', ')}`;
  return [
    `${formatLabelled('', title, columns)}${formatFacts(facts, columns)}`,
    formatTable([heading, ...rows], columns),
    ...formatOthers(report.manifests, { now, columns }),
  ].join('\n');
}

/** Parts of blobs that are here. */
function describeArrived(manifests: readonly ManifestReport[]): readonly Fact[] {
  const missing = manifests.flatMap((manifest) => manifest.missing);
  const facts = missing.flatMap(({ digest, size, arrivedBytes }) => {
    if (arrivedBytes === undefined) return [];
    const percent = wholePercent(arrivedBytes, size);
    return [TEXTS.arrived({ digest, percent, bytes: roundSize(size) })];
  });
  return [...new Set(facts)].map((fact) => ['in part', fact]);
}

function describeManifest(manifest: ManifestReport, now: number): string[] {
  const { digest, role, platform = '', bytes, held } = manifest;
  const own = held.find((blob) => blob.digest === digest);
  const from = own ? formatOrigin(own, now) : '';
  return [shortDigest(digest), role, platform, roundSize(bytes), stateOf(manifest), from];
}

function stateOf({ isHeld, isWanted, missing }: ManifestReport): string {
  if (!isHeld) return isWanted ? 'missing' : TEXTS.notAskedFor;
  if (missing.length === 0) return 'held';
  const bytes = missing.reduce((sum, { size }) => sum + size, 0);
  const lack = `${count(missing.length, 'blob')} missing, ${roundSize(bytes)}`;
  return isWanted ? lack : `${lack}, ${TEXTS.notAskedFor}`;
}
