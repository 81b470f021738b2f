import type { PlannedImage, SyncPlan, SyncTotals } from '../api/sync-api.ts';
import { formatDuration } from '../config/quantity.ts';
import { askOnce } from './admin-client.ts';
import { count, formatLabelled, roundSize, shortDigest } from './format.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { formatProblems, formatReleased, formatRows } from './sync-format.ts';
import { withLock, writeLock } from './sync-lock.ts';
import { TEXTS } from './texts.ts';

interface SyncPlanOptions extends CommandOptions {
  readonly lock?: string;
  readonly locked?: string;
  readonly all?: boolean;
}

/**
 * Prints what a run would do, and writes its digests down as a lock, unless something could not be
 * resolved. 0: nothing is to do; 2: something is; 1: there are problems.
 */
export async function syncPlan(options: SyncPlanOptions, context: StoreContext): Promise<number> {
  const plan = await withLock(options.locked, context.cwd, async (lock) =>
    askOnce<SyncPlan>(options, context, {
      path: '/api/v1/sync/plan',
      method: 'POST',
      body: { lock },
      ifNoStore: 'pretend',
    }),
  );
  print(options, context, plan, (columns) => formatPlan(plan, { columns, isAll: options.all }));
  keepLock(plan, options.lock, context);
  if (plan.problems.length > 0) return EXIT_CODE.failed;
  return isPending(plan) ? EXIT_CODE.pending : EXIT_CODE.ok;
}

/** A lock that lacks the unresolved images would release them. */
function keepLock({ lock, problems }: SyncPlan, file: string | undefined, context: StoreContext) {
  if (file === undefined) return;
  if (problems.length === 0) writeLock(lock, file, context.cwd);
  else
    context.stderr.write(
      `${TEXTS.lockNotWritten({ file, problems: count(problems.length, 'problem') })}\n`,
    );
}

function isPending({ images, released }: SyncPlan): boolean {
  return images.some(isChanged) || released.some(({ action }) => action === 'release');
}

/** A tag that moves to a held digest counts too. */
function isChanged({ action, digest, before = digest }: PlannedImage): boolean {
  return action === 'fetch' || before !== digest;
}

function formatPlan(
  plan: SyncPlan,
  layout: { columns: number | undefined; isAll: boolean | undefined },
): string {
  const { columns } = layout;
  const { images, released, problems, totals } = plan;
  const changed = images.filter(isChanged);
  const ordered = [...changed, ...images.filter((image) => !isChanged(image))];
  const heading = ['IMAGE', 'TAG', 'DIGEST', 'ACTION', 'FETCH', 'SIZE', 'RULE'];
  return [
    images.length === 0 ? '' : `${formatRows(heading, ordered.map(describe), layout)}\n`,
    images.length === 0 && problems.length === 0
      ? `${TEXTS.nothingSelected}\n`
      : formatLabelled('', describeTotals(totals), columns),
    formatReleased(released, columns),
    formatProblems(TEXTS.unresolved, problems, columns),
  ].join('');
}

function describe(image: PlannedImage): string[] {
  const { tag = '', digest, action, before = digest, bytes, fetchBytes, blobs, rule } = image;
  const moved = before === digest ? action : `${action}, was ${shortDigest(before)}`;
  const fetched = action === 'keep' ? '' : `${roundSize(fetchBytes)} in ${count(blobs, 'blob')}`;
  return [image.image, tag, shortDigest(digest), moved, fetched, roundSize(bytes), rule];
}

function describeTotals(totals: SyncTotals): string {
  const { images, toFetch, fetchBytes, heldBytes, requests, countedRequests, seconds } = totals;
  const time = seconds === undefined ? '' : `, about ${formatDuration(Math.ceil(seconds) * 1000)}`;
  const cost = `${count(requests, 'request')}, ${countedRequests} of them counted${time}`;
  const held = `${roundSize(heldBytes)} held`;
  return `${toFetch} of ${count(images, 'image')} to fetch: ${roundSize(fetchBytes)}, ${cost}; ${held}`;
}
