import type { Pin, Unheld } from '../api/store-api.ts';
import { isAttachedTag } from '../oci/cosign.ts';

const MAX_TAGS_TOLD = 5;

/** What was looked for, and what is held beside it. */
export function explainUnheld({ image, repository, tags }: Unheld): string {
  const said = `nothing of ${image} is held`;
  const own = tags.filter((tag) => !isAttachedTag(tag));
  if (own.length === 0) return said;
  const more = own.length - MAX_TAGS_TOLD;
  const told = own.slice(0, MAX_TAGS_TOLD).join(', ');
  return `${said}; of ${repository} there is ${told}${more > 0 ? ` and ${more} more` : ''}`;
}

/** Why there was no pin by hand to take back, and who else has one. */
export function explainUnpinned(image: string, pins: readonly Pin[]): string {
  const others = pins.map((pin) => `${keeper(pin)} as ${pin.image}`);
  return `${image} is not pinned by hand${others.length === 0 ? '' : `, but ${others.join(', ')}`}`;
}

function keeper({ origin, reason }: Pin): string {
  if (origin === 'hand') return 'by another pin by hand';
  if (origin === 'config') return 'by store.pins of the configuration';
  if (origin === 'use:file') return 'by the list of store.inUse';
  const why = reason === undefined ? '' : ` (${reason})`;
  return origin.startsWith('use:') ? `in use by ${origin.slice(4)}` : `by ${origin}${why}`;
}
