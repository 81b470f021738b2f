import { shortDigest } from './short-digest.ts';
import type { ReleasedImage, SyncProblem } from '../api/sync-api.ts';
import { formatPart } from './sync-rows.ts';

/** What a plan and the report of a run say alike: what left the selection. */
export function formatReleased(released: readonly ReleasedImage[]): string {
  const rows = released.map(({ image, tag = '', digest, action, why }) => [
    image,
    tag,
    shortDigest(digest),
    action,
    why,
  ]);
  return formatPart('no longer selected:', ['IMAGE', 'TAG', 'DIGEST', 'ACTION', 'WHY'], rows);
}

/** Rules and images that something is wrong with. */
export function formatProblems(title: string, problems: readonly SyncProblem[]): string {
  const rows = problems.map(({ rule, image, reason }) => [rule, image, reason]);
  return formatPart(title, ['RULE', 'IMAGE', 'REASON'], rows);
}
