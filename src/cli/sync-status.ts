import type { SyncImage, SyncRunState, SyncStatus } from '../api/sync-api.ts';
import { askOnce } from './admin-client.ts';
import { count, formatAge, formatLabelled, roundSize, shortDigest } from './format.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { describeProgress, formatProblems, formatRows } from './sync-format.ts';
import { TEXTS } from './texts.ts';

const STATES = ['partial', 'stale', 'ready'] as const;
const HEADING = ['IMAGE', 'TAG', 'STATE', 'MISSING', 'AGE', 'RULE', 'WHY'];

interface SyncStatusOptions extends CommandOptions {
  readonly all?: boolean;
}

/** Prints what would break without the upstreams. 0 only when something is selected and all ready. */
export async function syncStatus(
  options: SyncStatusOptions,
  context: StoreContext,
): Promise<number> {
  const status = await askOnce<SyncStatus>(options, context, { path: '/api/v1/sync' });
  print(options, context, status, (columns) =>
    formatStatus(status, { now: context.now(), isAll: options.all, columns }),
  );
  return isReady(status) ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** A rule that was never resolved is not ready; an empty selection is most likely a mistake. */
function isReady({ images, unresolved = [] }: SyncStatus): boolean {
  const isAllReady = images.every(({ state }) => state === 'ready');
  return isAllReady && images.length > 0 && unresolved.length === 0;
}

interface Layout {
  readonly now: number;
  readonly columns: number | undefined;
  readonly isAll: boolean | undefined;
}

function formatStatus(status: SyncStatus, layout: Layout): string {
  const { now, columns } = layout;
  const { images, rules, unresolved = [] } = status;
  if (rules + images.length === 0) return `${TEXTS.noRules}\n`;
  const ordered = STATES.flatMap((state) => images.filter((image) => image.state === state));
  const rows = ordered.map((image) => describe(image, now));
  return [
    images.length === 0 ? '' : `${formatRows(HEADING, rows, layout)}\n`,
    ...[describeCounts(status), ...(rules > 0 ? describeRuns(status, now) : [])].map((line) =>
      formatLabelled('', line, columns),
    ),
    formatProblems(TEXTS.unknown, unresolved, columns),
  ].join('');
}

function describe(image: SyncImage, now: number): string[] {
  const { tag, digest, state, checkedAt, rule, reason = '' } = image;
  const name = tag ?? shortDigest(digest);
  const age = formatAge(checkedAt, now);
  return [image.image, name, state, describeMissing(image), age, rule, reason];
}

/** The size of a manifest that was never seen is not known. */
function describeMissing({ missing, missingBytes, lacksTag }: SyncImage): string {
  if (missingBytes > 0) return roundSize(missingBytes);
  if (missing.length > 0) return 'size unknown';
  return lacksTag ? 'the tag' : '';
}

function describeCounts({ counts, images }: SyncStatus): string {
  const bytes = images.reduce((sum, { missingBytes }) => sum + missingBytes, 0);
  const tags = images.filter((image) => image.missing.length === 0 && image.lacksTag).length;
  const missing = [
    ...(bytes > 0 ? [roundSize(bytes)] : []),
    ...(tags > 0 ? [count(tags, 'tag')] : []),
  ];
  const lack = missing.length === 0 ? '' : ` (${missing.join(' and ')} missing)`;
  const unresolved = counts.unresolved > 0 ? `, ${counts.unresolved} unresolved` : '';
  return `${counts.ready} ready, ${counts.partial} partial${lack}, ${counts.stale} stale${unresolved}`;
}

function describeRuns({ run, nextRunAt, closedUntil }: SyncStatus, now: number): string[] {
  return [
    ...describeRun(run, now),
    ...(nextRunAt === undefined
      ? []
      : [TEXTS.nextRun({ time: new Date(nextRunAt).toISOString() })]),
    ...(closedUntil === undefined
      ? []
      : [TEXTS.closedUntil({ time: new Date(closedUntil).toISOString() })]),
  ];
}

function describeRun({ running, last }: SyncRunState, now: number): string[] {
  if (running) return [`running: ${describeProgress(running)}`];
  if (!last) return [TEXTS.noRun];
  const { fetched, kept, failed } = last.images;
  const early = last.aborted === undefined ? '' : `, ended early: ${last.aborted}`;
  const trouble = last.failures.length === 0 ? '' : `, ${count(last.failures.length, 'problem')}`;
  const done = `${count(fetched, 'image')} fetched, ${kept} kept, ${failed} failed${trouble}${early}`;
  return [`last run ${formatAge(last.endedAt, now)}: ${done}`];
}
