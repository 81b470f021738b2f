import type { AbsentImage } from '../api/store-api.ts';
import { isAttachedTag } from '../oci/cosign.ts';
import { TEXTS } from './texts.ts';

/** Of a repository of which another tag was asked for. */
const MAX_TAGS_TOLD = 5;

/** What was looked for, and what is held beside it. */
export function describeAbsence({ image, repository, tags }: AbsentImage): string {
  const own = tags.filter((tag) => !isAttachedTag(tag));
  if (own.length === 0) return TEXTS.notHeld({ image });
  const told = own.slice(0, MAX_TAGS_TOLD).join(', ');
  const more = own.length - MAX_TAGS_TOLD;
  const others = more > 0 ? TEXTS.andMore({ tags: told, more }) : told;
  return TEXTS.othersHeld({ image, repository, tags: others });
}
