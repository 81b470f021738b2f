import type { ReleasedImage, SyncProblem, SyncProgress } from '../api/sync-api.ts';
import { formatDuration } from '../config/quantity.ts';
import { count, formatLabelled, formatTable, roundSize, shortDigest } from './format.ts';
import { TEXTS } from './texts.ts';

const SHOWN = 50;

interface Layout {
  /** Of the terminal, where it is one. */
  readonly columns: number | undefined;
  readonly isAll?: boolean | undefined;
}

/** A table of at most 50 rows, and how many more there are; all of them with `isAll`. */
export function formatRows(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  { columns, isAll }: Layout,
): string {
  const shown = isAll ? rows : rows.slice(0, SHOWN);
  const more = rows.length - shown.length;
  return `${formatTable([heading, ...shown], columns)}${more === 0 ? '' : `${TEXTS.moreRows({ more })}\n`}`;
}

/** Of a plan and of the report of a run: what left the selection, and what could not be asked for. */
export function formatReleased(
  released: readonly ReleasedImage[],
  columns: number | undefined,
): string {
  const { left = [], unasked = [] } = Object.groupBy(released, ({ isUnasked }) =>
    isUnasked ? 'unasked' : 'left',
  );
  return [
    formatSelection(TEXTS.notSelected, left, columns),
    formatSelection(TEXTS.unasked, unasked, columns),
  ].join('');
}

function formatSelection(
  title: string,
  images: readonly ReleasedImage[],
  columns: number | undefined,
): string {
  const rows = images.map(({ image, tag = '', digest, action, why }) => [
    image,
    tag,
    shortDigest(digest),
    action,
    why,
  ]);
  return formatPart(title, ['IMAGE', 'TAG', 'DIGEST', 'ACTION', 'WHY'], { rows, columns });
}

/** Rules and images that something is wrong with. */
export function formatProblems(
  title: string,
  problems: readonly SyncProblem[],
  columns: number | undefined,
): string {
  const rows = problems.map(({ rule, image, reason }) => [image, rule, reason]);
  return formatPart(title, ['IMAGE', 'RULE', 'REASON'], { rows, columns });
}

/** A table under a title, with an empty line in front; nothing without rows. */
function formatPart(
  title: string,
  heading: readonly string[],
  { rows, columns }: { rows: readonly (readonly string[])[]; columns: number | undefined },
): string {
  if (rows.length === 0) return '';
  const table = formatRows(heading, rows, { columns, isAll: true });
  return `\n${formatLabelled('', title, columns)}${table}`;
}

/** How far a run is: `3 of 12 images, 1.20 GiB of 4.00 GiB, 20.0 MiB/s, 2m30s left`. */
export function describeProgress(progress: SyncProgress): string {
  const { phase, until, images, bytes, bytesPerSecond, secondsLeft } = progress;
  if (phase === 'planning') return 'planning';
  const failed = images.failed === 0 ? '' : `, ${images.failed} failed`;
  const far = `${images.done} of ${count(images.total, 'image')}${failed}, ${roundSize(bytes.done)} of ${roundSize(bytes.total)}`;
  if (phase === 'waiting') {
    const window = until === undefined ? '' : ` at ${new Date(until).toISOString()}`;
    return `waiting for a window to open${window}: ${far}`;
  }
  const left =
    secondsLeft === undefined ? '' : `, ${formatDuration(Math.ceil(secondsLeft) * 1000)} left`;
  return `${far}, ${roundSize(bytesPerSecond)}/s${left}`;
}
