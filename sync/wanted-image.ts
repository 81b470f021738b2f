import type { SyncRule } from '../src/config/sync-config.ts';
import type { Digest } from '../src/oci/digest.ts';
import { formatImageName } from '../src/oci/image-name.ts';
import { formatTarget, type Tag, type Target } from '../src/oci/reference.ts';

/** What of an image a site wants. */
export interface Wants {
  /** `os/architecture[/variant]` */
  readonly platforms: readonly string[] | 'all';
  readonly referrers: boolean;
}

/** An image that the rules select, with what its tag means upstream. */
export interface WantedImage extends Wants {
  readonly target: Target;
  /** Without one it is wanted for its digest. */
  readonly tag?: Tag;
  readonly digest: Digest;
  /** Where the rule stands in the configuration. */
  readonly rule: string;
  readonly priority: number;
  readonly freshMs: number;
  /** What becomes of it when the upstream has it no more. */
  readonly removed: 'keep' | 'release';
  /** When the upstream last said so, milliseconds since 1970. */
  readonly checkedAt: number;
}

/** By what an image is known from one run to the next: its tag, else its digest. */
export function keyOf({ target, tag, digest }: Pick<WantedImage, 'target' | 'tag' | 'digest'>) {
  return `${formatTarget(target)} ${tag ?? digest}`;
}

/** As `keyOf`, and apart from what its tag meant before: a kept copy stands beside the new one. */
export function versionKeyOf(image: Pick<WantedImage, 'target' | 'tag' | 'digest'>): string {
  return `${keyOf(image)} ${image.digest}`;
}

/** By its tag, where it has one. */
export function nameOf({ target, tag, digest }: Pick<WantedImage, 'target' | 'tag' | 'digest'>) {
  const name = formatTarget(target);
  return formatImageName({ name, ...(tag === undefined ? { digest } : { tag }) });
}

export function digestNameOf({ target, digest }: Pick<WantedImage, 'target' | 'digest'>): string {
  return formatImageName({ name: formatTarget(target), digest });
}

/** What one rule wants of an image. */
export function wantedBy(
  { platforms, referrers, priority, freshMs, removed, path }: SyncRule,
  found: Pick<WantedImage, 'target' | 'tag' | 'digest'>,
  checkedAt: number,
): WantedImage {
  const wants = { platforms, referrers, priority, freshMs, removed, rule: path };
  return { ...found, ...wants, checkedAt };
}

/** What two rules want of one image, together. */
export function unite(a: WantedImage, b: WantedImage): WantedImage {
  return {
    ...(a.priority >= b.priority ? a : b),
    platforms:
      a.platforms === 'all' || b.platforms === 'all'
        ? 'all'
        : [...new Set([...a.platforms, ...b.platforms])],
    referrers: a.referrers || b.referrers,
    freshMs: Math.min(a.freshMs, b.freshMs),
    removed: a.removed === 'keep' || b.removed === 'keep' ? 'keep' : 'release',
  };
}
