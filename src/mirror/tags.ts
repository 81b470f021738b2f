import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../oci/reference.ts';
import type { Health } from '../store/care/health.ts';
import type { Catalog, TagRecord } from '../store/catalog/catalog.ts';

const MAX_HEARD = 10_000;

/**
 * What tags mean. In the catalog stands only what is held, so that a tag there never points to
 * nothing; what a HEAD said of a digest that is not held waits here for its manifest.
 */
export class TagBook {
  readonly #catalog: Catalog;
  readonly #health: Health;
  readonly #now: () => number;
  readonly #ttlMs: (target: Target) => number;
  readonly #heard = new LRUCache<string, TagRecord>({ max: MAX_HEARD });
  readonly #heardOf = new LRUCache<string, Set<Tag>>({ max: MAX_HEARD });

  constructor(parts: {
    catalog: Catalog;
    health: Health;
    now: () => number;
    /** How long what was heard counts. */
    ttlMs: (target: Target) => number;
  }) {
    this.#catalog = parts.catalog;
    this.#health = parts.health;
    this.#now = parts.now;
    this.#ttlMs = parts.ttlMs;
  }

  async find(target: Target, tag: Tag): Promise<TagRecord | undefined> {
    return this.#catalog.findTag(target, tag);
  }

  async record(target: Target, tag: Tag, record: TagRecord): Promise<void> {
    this.#heard.delete(keyOf(target, tag));
    await this.#health.recorded(this.#catalog.recordTag(target, tag, record));
  }

  /** A HEAD said that the tag means this digest, which is not held. */
  hear(target: Target, tag: Tag, record: TagRecord): void {
    this.#heard.set(keyOf(target, tag), record);
    const others = this.#heardOf.get(keyOf(target, record.digest)) ?? new Set();
    this.#heardOf.set(keyOf(target, record.digest), others.add(tag));
  }

  /** What a HEAD said so recently that another one can be spared. */
  heard(target: Target, tag: Tag): TagRecord | undefined {
    const record = this.#heard.get(keyOf(target, tag));
    return record && this.#now() - record.checkedAt < this.#ttlMs(target) ? record : undefined;
  }

  /** The tags of which a HEAD said, however long ago, that they mean this digest, now that it is here. */
  takeHeardOf(target: Target, digest: Digest): { tag: Tag; checkedAt: number }[] {
    const tags = this.#heardOf.get(keyOf(target, digest)) ?? new Set<Tag>();
    this.#heardOf.delete(keyOf(target, digest));
    return [...tags].flatMap((tag) => {
      const record = this.#heard.get(keyOf(target, tag));
      if (record?.digest !== digest) return [];
      this.#heard.delete(keyOf(target, tag));
      return [{ tag, checkedAt: record.checkedAt }];
    });
  }
}

function keyOf(target: Target, item: string): string {
  return `${formatTarget(target)} ${item}`;
}
