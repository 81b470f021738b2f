import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../oci/reference.ts';
import type { ManifestStat } from './held-manifests.ts';

/** What the upstream said that a tag means. */
export interface Announcement {
  readonly stat: ManifestStat;
  readonly checkedAt: number;
  /** The upstream is a mirror that could not ask its own upstream. */
  readonly warning?: string;
}

const MAX_TAGS = 10_000;

/**
 * Tags whose manifest is not held, with what a HEAD said that they mean. The catalog has only tags
 * of held manifests, so these wait here until their manifest is kept.
 */
export class AnnouncedTags {
  readonly #announcements = new LRUCache<string, Announcement>({ max: MAX_TAGS });
  readonly #tagsOf = new LRUCache<string, Set<Tag>>({ max: MAX_TAGS });

  set(target: Target, tag: Tag, announcement: Announcement): void {
    this.#announcements.set(keyOf(target, tag), announcement);
    const others = this.#tagsOf.get(keyOf(target, announcement.stat.digest)) ?? new Set();
    this.#tagsOf.set(keyOf(target, announcement.stat.digest), others.add(tag));
  }

  get(target: Target, tag: Tag): Announcement | undefined {
    return this.#announcements.get(keyOf(target, tag));
  }

  delete(target: Target, tag: Tag): void {
    this.#announcements.delete(keyOf(target, tag));
  }

  /** Removes and returns the tags that mean this manifest, to be recorded together with it. */
  takeOf(target: Target, digest: Digest): { tag: Tag; checkedAt: number }[] {
    const tags = this.#tagsOf.get(keyOf(target, digest)) ?? new Set<Tag>();
    this.#tagsOf.delete(keyOf(target, digest));
    return [...tags].flatMap((tag) => {
      const announcement = this.get(target, tag);
      if (announcement?.stat.digest !== digest) return [];
      this.delete(target, tag);
      return [{ tag, checkedAt: announcement.checkedAt }];
    });
  }
}

function keyOf(target: Target, item: string): string {
  return `${formatTarget(target)} ${item}`;
}
