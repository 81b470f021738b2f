import type { UpstreamConfig } from '../../config/config.ts';
import type { QuotaStatus } from '../../api/status-api.ts';
import { keyOf, ok, warning, type Outcome } from './finding.ts';

/** What an account may still pull, as far as the registry tells. */
export function checkQuota(label: string, quota: QuotaStatus, config: UpstreamConfig): Outcome {
  const { limit, remaining, windowSeconds, blockedForSeconds } = quota;
  const window = windowSeconds === undefined ? '' : ` in ${describe(windowSeconds)}`;
  const advice = `wait, or set ${keyOf(config, 'credentials')} of an account with a higher limit`;
  if (remaining === 0) {
    return warning(`${label}: nothing left of ${limit ?? 'an unknown limit'}${window}`, advice);
  }
  if (blockedForSeconds !== undefined) {
    return warning(`${label}: refused (429) for ${blockedForSeconds} s`, advice);
  }
  if (remaining !== undefined) {
    return ok(`${label}: ${remaining} of ${limit ?? 'an unknown limit'} left${window}`);
  }
  if (limit !== undefined) return ok(`${label}: ${limit}${window}, does not tell what is left`);
  return ok(`${label}: tells no limit`);
}

function describe(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}
