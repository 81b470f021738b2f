import picomatch from 'picomatch';
import type { SyncRule } from '../src/config/sync-config.ts';
import { formatTarget, type Target } from '../src/oci/reference.ts';
import { Selection } from './selection.ts';
import type { WantedImage } from './wanted-image.ts';

/**
 * Whether a rule may select an image, whatever its upstream lists just now: where `newest` decides,
 * any tag that could be among them counts.
 */
export function covers(
  rule: SyncRule,
  { target, tag, digest }: Pick<WantedImage, 'target' | 'tag' | 'digest'>,
): boolean {
  if (!coversRepository(rule, target)) return false;
  if (tag === undefined) return rule.digests.includes(digest);
  return new Selection(rule.tags).select([tag]).selected.includes(tag);
}

export function coversRepository({ image }: SyncRule, target: Target): boolean {
  const name = formatTarget(target);
  return isPattern(image) ? picomatch.isMatch(name, image, { dot: true }) : image === name;
}

export function isPattern(image: string): boolean {
  return picomatch.scan(image).isGlob;
}
