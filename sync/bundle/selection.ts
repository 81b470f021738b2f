import type { BundleWish } from '../../src/api/bundle-api.ts';
import type { SyncConfig } from '../../src/config/sync-schema.ts';
import type { SyncRule } from '../../src/config/sync-rule-schema.ts';
import { NO_TAGS } from '../../src/config/tag-selection-schema.ts';
import type { ResolvedImage } from '../../src/mirror/addressing.ts';
import { badRequest } from '../../src/oci/errors.ts';
import { formatTarget, isSameTarget } from '../../src/oci/reference.ts';
import { ImageScope } from '../image-scope.ts';
import { readLock } from '../lock.ts';
import { readNamedImages } from '../named-images.ts';
import type { SyncParts } from '../parts.ts';
import { mayMatch } from '../tag-selector.ts';
import { imageName } from '../wanted-image.ts';
import { TEXTS } from './texts.ts';

/** Which images a bundle is to have, in the terms of sync. */
export interface Selection {
  readonly config: SyncConfig;
  readonly lock?: unknown;
  /** Of the lock these alone. */
  readonly only?: ImageScope;
  /** All that the site is to have: what is not among it is to leave it. */
  readonly isWhole: boolean;
  /** It goes by the rules as they are. */
  readonly isByRules: boolean;
}

export interface SelectionParts extends Pick<SyncParts, 'config' | 'state' | 'timer'> {
  /** Throws a `RegistryError` for what is no image of this mirror. */
  readonly resolve: (image: string) => ResolvedImage;
}

/** What stands for a rule where none selects an image that was named. */
const NAMED = {
  path: '',
  platforms: 'all',
  referrers: true,
  priority: 0,
  freshMs: Infinity,
  removed: 'keep',
} as const;

/**
 * Images that are named come with all platforms, unless rules select them: then as these want them.
 * Throws a `RegistryError` with what is wrong with the wish.
 */
export function readSelection(wish: BundleWish, parts: SelectionParts): Selection {
  const { images, lock } = wish;
  const { config, timer, resolve } = parts;
  const named = images && readNamedImages(images, resolve);
  if (named?.length === 0) throw badRequest(TEXTS.noImages);
  if (lock !== undefined) {
    const locked = readLock(config, lock, timer.wall());
    if (!named) return { config, lock, isWhole: true, isByRules: false };
    const names = named.map(nameOf);
    const canonical = (image: string): string => image;
    const only = ImageScope.read(names, { rules: config.rules, locked, canonical });
    return { config, lock, only, isWhole: false, isByRules: false };
  }
  if (named) {
    const rules = named.flatMap((image) => rulesFor(image, wish, parts));
    return { config: { ...config, rules }, isWhole: false, isByRules: false };
  }
  if (config.rules.length === 0) throw badRequest(TEXTS.noSelection);
  return { config, isWhole: true, isByRules: true };
}

/** Rules that select this image alone. */
function rulesFor(
  image: ResolvedImage,
  { platforms, isPlain = false }: BundleWish,
  { config, state }: SelectionParts,
): SyncRule[] {
  const { target, tag, digest } = image;
  const known = state.current.images.filter(
    (each) => each.digest === digest && isSameTarget(each.target, target),
  );
  const own = config.rules.filter(
    (rule) =>
      mayMatch(rule, { target, ...(digest ? { digest } : tag && { tag }) }) ||
      known.some((each) => each.rule === rule.path),
  );
  const wants = own.length > 0 ? own : [NAMED];
  const alone = {
    image: formatTarget(target),
    tags: digest || !tag ? NO_TAGS : { ...NO_TAGS, names: [tag] },
    digests: digest ? [digest] : [],
    ...(platforms && { platforms }),
    ...(isPlain && { referrers: false }),
  };
  return wants.map((rule) => ({ ...rule, ...alone }));
}

function nameOf({ target, tag, digest }: ResolvedImage): string {
  return imageName({ target, ...(tag && !digest && { tag }), digest: digest! });
}
