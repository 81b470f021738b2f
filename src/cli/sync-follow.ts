import type { SyncProgress, SyncReport, SyncRunState } from '../api/sync-api.ts';

export interface FollowParts {
  /** Begins a run, or joins the one that runs. */
  readonly start: () => Promise<SyncRunState>;
  readonly look: () => Promise<SyncRunState>;
  /** Called between two looks. */
  readonly wait: (progress: SyncProgress) => Promise<unknown>;
}

/** Follows a run to its end; `undefined` when it is gone without a report: the server restarted. */
export async function followRun({
  start,
  look,
  wait,
}: FollowParts): Promise<SyncReport | undefined> {
  let state = await start();
  const startedAt = state.running?.startedAt;
  while (state.running && state.running.startedAt === startedAt) {
    await wait(state.running);
    state = await look();
  }
  const { last } = state;
  // One that was over before the answer is the last one; a later one began where it was lost.
  return last && last.startedAt >= (startedAt ?? 0) ? last : undefined;
}
