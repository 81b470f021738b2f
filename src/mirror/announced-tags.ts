import type { Digest } from '../oci/digest.ts';
import { itemKey, type Tag, type Target } from '../oci/reference.ts';
import { RecentMap } from '../time/recent-map.ts';
import type { ManifestStat } from './held-manifests.ts';
import type { Instant } from './tag-ages.ts';

/** What the upstream said that a tag means. */
export interface Announcement {
  readonly stat: ManifestStat;
  readonly saidAt: Instant;
  /** The upstream is a mirror that could not ask its own upstream. */
  readonly warning?: string;
}

interface Entry extends Announcement {
  readonly target: Target;
  readonly tag: Tag;
}

const MAX_TAGS = 10_000;

/**
 * Tags whose manifest is not held, with what a HEAD said that they mean. The catalog has only tags
 * of held manifests, so these wait here until their manifest is kept.
 */
export class AnnouncedTags {
  readonly #entries = new RecentMap<string, Entry>(MAX_TAGS, {
    dispose: (entry) => this.#forget(entry),
  });
  /** The tags that mean a manifest, by that manifest. */
  readonly #tagsOf = new Map<string, Set<Tag>>();

  set(target: Target, tag: Tag, announcement: Announcement): void {
    const manifest = itemKey(target, announcement.stat.digest);
    this.#entries.set(itemKey(target, tag), { ...announcement, target, tag });
    this.#tagsOf.set(manifest, (this.#tagsOf.get(manifest) ?? new Set()).add(tag));
  }

  get(target: Target, tag: Tag): Announcement | undefined {
    return this.#entries.get(itemKey(target, tag));
  }

  delete(target: Target, tag: Tag): void {
    this.#entries.delete(itemKey(target, tag));
  }

  /** Removes and returns the tags that mean this manifest, to be recorded together with it. */
  takeOf(target: Target, digest: Digest): { tag: Tag; checkedAt: number }[] {
    return [...(this.#tagsOf.get(itemKey(target, digest)) ?? [])].flatMap((tag) => {
      const known = this.get(target, tag);
      this.delete(target, tag);
      return known ? [{ tag, checkedAt: known.saidAt.wall }] : [];
    });
  }

  #forget({ target, tag, stat }: Entry): void {
    const manifest = itemKey(target, stat.digest);
    const tags = this.#tagsOf.get(manifest);
    tags?.delete(tag);
    if (tags?.size === 0) this.#tagsOf.delete(manifest);
  }
}
