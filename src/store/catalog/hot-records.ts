import type { Digest } from '../../oci/digest.ts';
import { itemKey, type Tag, type Target } from '../../oci/reference.ts';
import {
  unitOf,
  type BlobRecord,
  type Link,
  type ManifestRecord,
  type TagRecord,
} from './catalog.ts';
import { RecentMap } from '../../time/recent-map.ts';
import { JoinedReads } from './joined-reads.ts';
import type { LevelReader } from './level-reader.ts';
import type { RecentRecords } from './recent-records.ts';

/** Records of each kind in memory. */
const MAX_HOT = 50_000;

/** The lately used records of the tables that pulls read. */
export class HotRecords implements RecentRecords {
  readonly tags: RecordCache<TagRecord>;
  readonly manifests: RecordCache<ManifestRecord>;
  readonly blobs: RecordCache<BlobRecord>;
  readonly links: RecordCache<Link>;

  constructor(reader: LevelReader, unreadable: (error: unknown) => void) {
    const { tables } = reader;
    const reads = new JoinedReads(tables.db);
    const cache = <Value extends {}>(read: (key: string) => Promise<Value | undefined>) =>
      new RecordCache({ max: MAX_HOT, read, unreadable });
    this.tags = cache((key) => tables.tags.get(key));
    this.manifests = cache((key) => reads.get(tables.manifests, key));
    this.blobs = cache((key) => reads.get(tables.blobs, key));
    this.links = cache((key) => reader.link(key));
  }

  /** Whoever wants it reads its bytes next: one trip brings where they are as well. */
  async findManifest(target: Target, digest: Digest): Promise<ManifestRecord | undefined> {
    const unit = unitOf(target, digest);
    if (!this.manifests.recall(unit)) void this.blobs.find(digest);
    return this.manifests.find(unit);
  }

  tag(target: Target, tag: Tag): TagRecord | undefined {
    return this.tags.recall(itemKey(target, tag));
  }

  manifest(target: Target, digest: Digest): ManifestRecord | undefined {
    return this.manifests.recall(unitOf(target, digest));
  }
}

/**
 * The lately used records of a table, in memory. What cannot be read counts as not known, so that
 * no pull breaks for it.
 */
class RecordCache<Value extends {}> {
  readonly #hot: RecentMap<string, Value>;
  readonly #read: (key: string) => Promise<Value | undefined>;
  readonly #unreadable: (error: unknown) => void;
  #deletions = 0;

  constructor(parts: {
    max: number;
    read: (key: string) => Promise<Value | undefined>;
    unreadable: (error: unknown) => void;
  }) {
    this.#hot = new RecentMap(parts.max);
    this.#read = parts.read;
    this.#unreadable = parts.unreadable;
  }

  /** Of what is in memory. */
  recall(key: string): Value | undefined {
    return this.#hot.get(key);
  }

  async find(key: string): Promise<Value | undefined> {
    const known = this.#hot.get(key);
    if (known !== undefined) return known;
    const deletions = this.#deletions;
    const value = await this.#attempt(key);
    // A value that was written while an older one was being read counts.
    const written = this.#hot.get(key);
    if (written !== undefined || value === undefined) return written;
    // A record that may have been deleted meanwhile is not remembered.
    if (deletions === this.#deletions) this.#hot.set(key, value);
    return value;
  }

  set(key: string, value: Value): void {
    this.#hot.set(key, value);
  }

  delete(key: string): boolean {
    this.#deletions += 1;
    return this.#hot.delete(key);
  }

  async #attempt(key: string): Promise<Value | undefined> {
    try {
      return await this.#read(key);
    } catch (error) {
      this.#unreadable(error);
      return undefined;
    }
  }
}
