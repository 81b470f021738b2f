import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../oci/reference.ts';
import type { Catalog, TagRecord } from '../store/catalog.ts';

const MAX_HEARD = 10_000;

/**
 * What tags mean. In the catalog stands only what is held, so that a tag there never points to
 * nothing; what a HEAD said of a digest that is not held waits here for its manifest.
 */
export class TagBook {
  readonly #catalog: Catalog;
  readonly #now: () => number;
  readonly #ttlMs: (target: Target) => number;
  readonly #heard = new LRUCache<string, TagRecord>({ max: MAX_HEARD });
  readonly #heardOf = new LRUCache<string, Set<Tag>>({ max: MAX_HEARD });

  constructor(parts: {
    catalog: Catalog;
    now: () => number;
    /** How long what was heard counts. */
    ttlMs: (target: Target) => number;
  }) {
    this.#catalog = parts.catalog;
    this.#now = parts.now;
    this.#ttlMs = parts.ttlMs;
  }

  async find(target: Target, tag: Tag): Promise<TagRecord | undefined> {
    return this.#catalog.findTag(target, tag);
  }

  async record(target: Target, tag: Tag, record: TagRecord): Promise<void> {
    await this.#catalog.recordTag(target, tag, record);
  }

  /** A HEAD said that the tag means this digest, which is not held. */
  hear(target: Target, tag: Tag, digest: Digest): void {
    this.#heard.set(keyOf(target, tag), { digest, checkedAt: this.#now() });
    const others = this.#heardOf.get(keyOf(target, digest)) ?? new Set();
    this.#heardOf.set(keyOf(target, digest), others.add(tag));
  }

  heard(target: Target, tag: Tag): Digest | undefined {
    const record = this.#heard.get(keyOf(target, tag));
    return record && this.#isRecent(target, record) ? record.digest : undefined;
  }

  /** The tags that are known by hearsay to mean this digest, now that it is here. */
  heardOf(target: Target, digest: Digest): Tag[] {
    const tags = this.#heardOf.get(keyOf(target, digest)) ?? new Set<Tag>();
    this.#heardOf.delete(keyOf(target, digest));
    return [...tags].filter((tag) => {
      const record = this.#heard.get(keyOf(target, tag));
      this.#heard.delete(keyOf(target, tag));
      return record?.digest === digest && this.#isRecent(target, record);
    });
  }

  #isRecent(target: Target, record: TagRecord): boolean {
    return this.#now() - record.checkedAt < this.#ttlMs(target);
  }
}

function keyOf(target: Target, item: string): string {
  return `${formatTarget(target)} ${item}`;
}
