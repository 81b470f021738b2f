import type { SyncConfig } from '../src/config/sync-config.ts';
import type { PlannedImage, ReleasedImage, SyncPlan } from '../src/api/sync-api.ts';
import { formatTarget } from '../src/oci/reference.ts';
import type { Departure } from './departure.ts';
import { formatLock } from './lock.ts';
import { isToFetch, type Plan, type PlannedItem } from './planner.ts';

/** A plan as the API tells it. */
export function describePlan(
  plan: Plan,
  config: SyncConfig,
  earlierRate: number | undefined,
): SyncPlan {
  const { createdAt, items, failed, departures, problems } = plan;
  const missing = new Map(
    items.flatMap(({ extent }) => extent.missing.map(({ digest, size }) => [digest, size])),
  );
  const fetchBytes = [...missing.values()].reduce((sum, size) => sum + size, 0);
  const rate = config.bytesPerSecond ?? earlierRate;
  return {
    createdAt,
    lock: formatLock(config, [...items.map(({ wanted }) => wanted), ...failed], createdAt),
    images: items.map(describeItem),
    released: departures.map(describeDeparture),
    problems,
    totals: {
      images: items.length,
      toFetch: items.filter(isToFetch).length,
      fetchBytes,
      heldBytes: items.reduce((sum, { extent }) => sum + extent.bytes, 0),
      // The manifests are here by now; registries count those, not blobs.
      requests: missing.size,
      countedRequests: 0,
      ...(rate !== undefined && rate > 0 && { seconds: Math.ceil(fetchBytes / rate) }),
    },
  };
}

export function describeDeparture({ image, action, why }: Departure): ReleasedImage {
  const { target, tag, digest, rule } = image;
  const name = formatTarget(target);
  return { image: name, ...(tag !== undefined && { tag }), digest, rule, action, why };
}

function describeItem(item: PlannedItem): PlannedImage {
  const { wanted, extent, before } = item;
  const { target, tag, digest, rule } = wanted;
  const { bytes, missing, missingBytes } = extent;
  return {
    image: formatTarget(target),
    ...(tag !== undefined && { tag }),
    digest,
    rule,
    action: isToFetch(item) ? 'fetch' : 'keep',
    ...(before !== undefined && before !== digest && { before }),
    bytes: bytes + missingBytes,
    fetchBytes: missingBytes,
    blobs: missing.length,
  };
}
