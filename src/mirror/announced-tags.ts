import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../oci/reference.ts';
import type { TagRecord } from '../store/catalog/catalog.ts';

const MAX_TAGS = 10_000;

/**
 * Tags whose manifest is not held, with what a HEAD said that they mean. The catalog has only tags
 * of held manifests, so these wait here until their manifest is kept.
 */
export class AnnouncedTags {
  readonly #records = new LRUCache<string, TagRecord>({ max: MAX_TAGS });
  readonly #tagsOf = new LRUCache<string, Set<Tag>>({ max: MAX_TAGS });

  set(target: Target, tag: Tag, record: TagRecord): void {
    this.#records.set(keyOf(target, tag), record);
    const others = this.#tagsOf.get(keyOf(target, record.digest)) ?? new Set();
    this.#tagsOf.set(keyOf(target, record.digest), others.add(tag));
  }

  get(target: Target, tag: Tag): TagRecord | undefined {
    return this.#records.get(keyOf(target, tag));
  }

  delete(target: Target, tag: Tag): void {
    this.#records.delete(keyOf(target, tag));
  }

  /** Removes and returns the tags that mean this manifest, to be recorded together with it. */
  takeOf(target: Target, digest: Digest): { tag: Tag; checkedAt: number }[] {
    const tags = this.#tagsOf.get(keyOf(target, digest)) ?? new Set<Tag>();
    this.#tagsOf.delete(keyOf(target, digest));
    return [...tags].flatMap((tag) => {
      const record = this.get(target, tag);
      if (record?.digest !== digest) return [];
      this.delete(target, tag);
      return [{ tag, checkedAt: record.checkedAt }];
    });
  }
}

function keyOf(target: Target, item: string): string {
  return `${formatTarget(target)} ${item}`;
}
