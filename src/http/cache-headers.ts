import type { ParameterizedContext } from 'koa';
import type { Answer, Source } from '../mirror/answer.ts';

/** RFC 9211 values by how the cache came by its answer. */
const CACHE_STATUS: Record<Source, string> = {
  hit: 'entrepot; hit',
  stale: 'entrepot; hit; detail=stale',
  revalidated: 'entrepot; hit; detail=revalidated',
  negative: 'entrepot; hit; detail=negative',
  miss: 'entrepot; fwd=miss',
  joined: 'entrepot; fwd=miss; collapsed',
  bypass: 'entrepot; fwd=bypass',
};

/** The spec's limit of all warnings in a response. */
const MAX_WARNING_BYTES = 4096;

/** What the answer says of itself: where it came from, how old it is, why it may be outdated. */
export function setCacheHeaders(
  ctx: ParameterizedContext,
  answer: Answer<unknown>,
  options: { stored: boolean },
): void {
  const stored = options.stored && answer.source === 'miss' ? '; stored' : '';
  ctx.set('Cache-Status', CACHE_STATUS[answer.source] + stored);
  if (answer.ageMs !== undefined) {
    ctx.set('Age', String(Math.max(0, Math.floor(answer.ageMs / 1000))));
  }
  if (answer.source === 'stale' || answer.warning !== undefined)
    ctx.set('Warning', formatWarning(answer));
}

/**
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#warnings
 */
function formatWarning(answer: Answer<unknown>): string {
  const text = `served from the mirror's copy: ${answer.warning ?? 'not confirmed'}`
    .replaceAll(/[^\x20-\x7e]/g, ' ')
    .slice(0, MAX_WARNING_BYTES / 4)
    .replaceAll(/["\\]/g, '\\$&');
  return `299 - "${text}"`;
}
