import type { ReleasedImage, SyncReport } from '../src/api/sync-api.ts';

/** A report as one line of the log tells it: numbers for lists, times as people read them. */
export function logLineOf(report: SyncReport): object {
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
