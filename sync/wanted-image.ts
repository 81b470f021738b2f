import type { SyncRule } from '../src/config/sync-rule-schema.ts';
import type { Digest } from '../src/oci/digest.ts';
import {
  formatImageName,
  formatTarget,
  parseImageName,
  type Tag,
  type Target,
} from '../src/oci/reference.ts';

/** The parts of an image that a site wants: of which platforms, and what is attached to it. */
export interface WantedParts {
  /** `os/architecture[/variant]` */
  readonly platforms: readonly string[] | 'all';
  readonly referrers: boolean;
}

/** An image that the rules select, with what its tag means upstream. */
export interface WantedImage extends WantedParts {
  readonly target: Target;
  /** `undefined`: it is wanted by its digest. */
  readonly tag?: Tag;
  readonly digest: Digest;
  /** Where the rule stands in the configuration. */
  readonly rule: string;
  readonly priority: number;
  readonly freshMs: number;
  /** What happens when the upstream deletes it or moves its tag. */
  readonly removed: 'keep' | 'release';
  /** When the upstream last confirmed the digest, milliseconds since 1970. */
  readonly checkedAt: number;
}

/** Identifies an image from run to run: by its tag, else by its digest. */
export function imageKey({ target, tag, digest }: Pick<WantedImage, 'target' | 'tag' | 'digest'>) {
  return `${formatTarget(target)} ${tag ?? digest}`;
}

/** Like `imageKey`, with the digest, so that a kept copy and the new image of one tag differ. */
export function imageVersionKey(image: Pick<WantedImage, 'target' | 'tag' | 'digest'>): string {
  return `${imageKey(image)} ${image.digest}`;
}

/** `name:tag`, or `name@digest` without a tag. */
export function imageName({ target, tag, digest }: Pick<WantedImage, 'target' | 'tag' | 'digest'>) {
  const name = formatTarget(target);
  return formatImageName({ name, ...(tag === undefined ? { digest } : { tag }) });
}

export function imageDigestName({
  target,
  digest,
}: Pick<WantedImage, 'target' | 'digest'>): string {
  return formatImageName({ name: formatTarget(target), digest });
}

/** An image as the API tells it. */
export function describeImage(image: Pick<WantedImage, 'target' | 'tag' | 'digest' | 'rule'>) {
  const { target, tag, digest, rule } = image;
  return { image: formatTarget(target), ...(tag !== undefined && { tag }), digest, rule };
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
export function joinWanted(a: WantedImage, b: WantedImage): WantedImage {
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

/** Whether a name has a tag or a digest; otherwise it is a repository or a pattern. */
export function isOneImage(name: string): boolean {
  const { tag, digest } = parseImageName(name);
  return tag !== undefined || digest !== undefined;
}
