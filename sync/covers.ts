import { isGlob, parseGlob } from '../src/config/glob.ts';
import type { SyncRule } from '../src/config/sync-config.ts';
import { formatTarget, type Target } from '../src/oci/reference.ts';
import { Selection } from './selection.ts';
import type { WantedImage } from './wanted-image.ts';

interface Compiled {
  readonly hasRepository: (name: string) => boolean;
  readonly selection: Selection;
}

/** Rules stay as they are; each is asked about many images. */
const COMPILED = new WeakMap<SyncRule, Compiled>();

/**
 * Whether a rule may select an image, whatever its upstream lists just now: where `newest` decides,
 * any tag that could be among them counts.
 */
export function covers(
  rule: SyncRule,
  {
    target,
    tag,
    digest,
  }: Partial<Pick<WantedImage, 'tag' | 'digest'>> & Pick<WantedImage, 'target'>,
): boolean {
  if (!coversRepository(rule, target)) return false;
  if (tag === undefined) return digest !== undefined && rule.digests.includes(digest);
  return compile(rule).selection.select([tag]).selected.includes(tag);
}

export function coversRepository(rule: SyncRule, target: Target): boolean {
  return compile(rule).hasRepository(formatTarget(target));
}

function compile(rule: SyncRule): Compiled {
  const known = COMPILED.get(rule);
  if (known) return known;
  const { image } = rule;
  const pattern = isGlob(image) ? parseGlob(image) : undefined;
  const compiled = {
    hasRepository: (name: string) => (pattern ? pattern.matches(name) : name === image),
    selection: new Selection(rule.tags),
  };
  COMPILED.set(rule, compiled);
  return compiled;
}
