import type { ReleasedImage, SyncProblem, SyncReport } from '../src/api/sync-api.ts';
import { describeReleased } from './deselected-image.ts';
import type { RunOutcome } from './runner.ts';
import { isOneImage } from './wanted-image.ts';

/** What a run came to. */
export type RunResult = Pick<SyncReport, 'images' | 'failures' | 'released' | 'aborted'>;

export const NOTHING_DONE: RunResult = {
  images: { fetched: 0, kept: 0, failed: 0 },
  failures: [],
  released: [],
};

export function resultOf(
  { fetched, kept, deselected }: RunOutcome,
  failures: readonly SyncProblem[],
): RunResult {
  const failed = new Set(failures.map(({ image }) => image).filter(isOneImage)).size;
  return {
    images: { fetched, kept, failed },
    failures,
    released: deselected.map(describeReleased),
  };
}

/** A report as one line of the log tells it: numbers for lists, times as people read them. */
export function describeForLog(report: SyncReport): object {
  const { startedAt, endedAt, failures, released, ...rest } = report;
  const count = (wanted: ReleasedImage['action']): number =>
    released.filter(({ action }) => action === wanted).length;
  return {
    startedAt: new Date(startedAt).toISOString(),
    endedAt: new Date(endedAt).toISOString(),
    ...rest,
    failures: failures.length,
    released: count('release'),
    guarded: count('guarded'),
  };
}
