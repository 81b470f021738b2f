import type { SyncProblem } from '../src/api/sync-api.ts';
import type { Pace } from '../src/mirror/downloads/demand.ts';
import type { Bandwidth } from '../src/upstream/bandwidth.ts';
import { PRIORITY } from '../src/upstream/demand.ts';
import { fetchImage, type FetchParts } from './image-fetch.ts';
import type { SyncParts } from './parts.ts';
import type { PlannedItem } from './planner.ts';
import { errorMessage } from './resolver.ts';
import type { Retries } from './retries.ts';
import type { RunProgress } from './run-progress.ts';
import { imageName } from './wanted-image.ts';

export interface BringParts extends Pick<
  SyncParts,
  'prefetcher' | 'catalog' | 'blobs' | 'schedule' | 'log' | 'signal'
> {
  readonly progress: RunProgress;
  readonly cap: Bandwidth | undefined;
  readonly retries: Retries;
}

/**
 * Fetches what a planned image lacks. Resolves with why it is not ready; `undefined` when it is, or when
 * the signal aborted.
 */
export async function bringImage(
  parts: BringParts,
  item: PlannedItem,
): Promise<SyncProblem | undefined> {
  const { retries, log, signal } = parts;
  const { rule } = item.wanted;
  const image = imageName(item.wanted);
  try {
    await retries.run(async () => fetchImage(fetchPartsOf(parts), item));
    return undefined;
  } catch (error) {
    if (signal.aborted) return undefined;
    const reason = errorMessage(error);
    log.warn({ image, rule, reason }, 'not synced');
    return { rule, image, reason };
  }
}

/** Files are fetched while a window is open, large ones one after the other, at the pace of the cap. */
function fetchPartsOf(parts: BringParts): FetchParts {
  const { schedule, progress, cap, signal } = parts;
  const pace: Pace = async (bytes, unpaced) =>
    cap?.take(bytes, { priority: PRIORITY.sync, signal: unpaced });
  return {
    ...parts,
    filesAtATime: 1,
    opened: async () => schedule.opened(signal),
    demand: { ...(cap && { pace }), came: (bytes) => progress.fetched(bytes) },
  };
}
