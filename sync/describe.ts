import type { SyncConfig } from '../src/config/sync-schema.ts';
import type { PlannedImage, ReleasedImage, SyncPlan, SyncReport } from '../src/api/sync-api.ts';
import type { DeselectedImage } from './deselected-image.ts';
import { formatLock } from './lock.ts';
import { isToFetch, missingOf, type Plan, type PlannedItem } from './planner.ts';
import { describeImage } from './wanted-image.ts';

/** A plan as the API tells it. */
export function describePlan(
  plan: Plan,
  config: SyncConfig,
  earlierRate: number | undefined,
): SyncPlan {
  const { createdAt, items, failed, deselected, problems } = plan;
  const missing = missingOf(items);
  const rate = config.bytesPerSecond ?? earlierRate;
  return {
    createdAt,
    lock: formatLock(config, [...items.map(({ wanted }) => wanted), ...failed], createdAt),
    images: items.map(describeItem),
    released: deselected.map(describeReleased),
    problems,
    totals: {
      images: items.length,
      toFetch: items.filter(isToFetch).length,
      fetchBytes: missing.bytes,
      heldBytes: items.reduce((sum, { extent }) => sum + extent.bytes, 0),
      // Registries count manifests, which the plan has fetched, and no blobs.
      requests: missing.files,
      countedRequests: 0,
      ...(rate !== undefined && rate > 0 && { seconds: Math.ceil(missing.bytes / rate) }),
    },
  };
}

/** What left the selection, as the API tells it. */
export function describeReleased({ image, action, why }: DeselectedImage): ReleasedImage {
  return { ...describeImage(image), action, why };
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

function describeItem(item: PlannedItem): PlannedImage {
  const { wanted, extent, before } = item;
  const { bytes, missing, missingBytes } = extent;
  return {
    ...describeImage(wanted),
    action: isToFetch(item) ? 'fetch' : 'keep',
    ...(before !== undefined && before !== wanted.digest && { before }),
    bytes: bytes + missingBytes,
    fetchBytes: missingBytes,
    blobs: missing.length,
  };
}
