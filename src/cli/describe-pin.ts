import type { Pin } from '../api/store-api.ts';

/** Who pinned it: `by hand`, `by the configuration`, `in use by SOURCE`, `by sync`. */
export function describeOrigin({ origin }: Pin): string {
  if (origin === 'hand') return 'by hand';
  if (origin === 'config') return 'by the configuration';
  return origin.startsWith('use:') ? `in use by ${origin.slice('use:'.length)}` : `by ${origin}`;
}
