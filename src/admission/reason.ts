import { TEXTS } from './texts.ts';
import type { Verdict } from './verdict.ts';

/** Why a verdict does not admit, in one sentence. */
export function reasonOf(verdict: Exclude<Verdict, { is: 'admitted' }>): string {
  if (verdict.is === 'unknown') return verdict.isOffline ? TEXTS.offline : verdict.reason;
  const {
    refusals: [first, ...others],
    more = 0,
  } = verdict;
  const reason = first?.reason ?? TEXTS.unsigned;
  return TEXTS.moreReasons({ reason, more: others.length + more });
}
