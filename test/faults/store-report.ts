import { get } from '../helpers/client.ts';
import type { TestMirror } from '../helpers/mirror.ts';

/** What the admin API says of the store's health. */
export async function storeState(
  mirror: TestMirror,
): Promise<{ state: string; reason?: string; since?: number }> {
  const { body } = await get(`${mirror.server.adminUrl}/api/v1/store`);
  const { state, reason, since } = JSON.parse(body.toString()) as {
    state: string;
    reason?: string;
    since?: number;
  };
  return { state, ...(reason !== undefined && { reason }), ...(since !== undefined && { since }) };
}

/** Requests for blobs and manifests by how they were answered, such as `blob hit`. */
export async function cacheResults(mirror: TestMirror): Promise<Record<string, number>> {
  const { values } = await mirror.server.metrics.cacheRequests.get();
  const results: Record<string, number> = {};
  for (const { labels, value } of values) {
    const name = `${labels.kind} ${labels.result}`;
    if (value > 0) results[name] = (results[name] ?? 0) + value;
  }
  return results;
}

/** Contents that were not what their digest says, by where that was found. */
export async function integrityFailures(mirror: TestMirror): Promise<Record<string, number>> {
  const { values } = await mirror.server.metrics.integrityFailures.get();
  const counted = values.filter(({ value }) => value > 0);
  return Object.fromEntries(counted.map(({ labels, value }) => [String(labels.where), value]));
}

/** How often the log says it. */
export function timesLogged(mirror: TestMirror, message: string): number {
  return mirror.log.filter(({ msg }) => msg === message).length;
}

export const TAKES_NOTHING = 'the store takes nothing: clients are served straight through';
export const TAKES_AGAIN = 'the store takes content again';
