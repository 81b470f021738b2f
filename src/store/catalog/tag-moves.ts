import type { Digest } from '../../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../../oci/reference.ts';
import { saidAt, unitOf, type ManifestEntry, type TagRecord } from './catalog.ts';
import type { Batch, Tables } from './tables.ts';

/** What a tag is about to mean, and what it meant before. */
export interface TagMove {
  readonly tag: Tag;
  readonly record: TagRecord;
  readonly before: TagRecord | undefined;
}

/** Which answers of upstreams about tags are recorded, and how. */
export class TagMoves {
  readonly #tables: Tables;
  readonly #now: () => number;

  constructor(tables: Tables, now: () => number) {
    this.#tables = tables;
    this.#now = now;
  }

  /**
   * Which tags are recorded anew: not those of which a later answer is known, unless a clock that
   * ran ahead wrote it.
   */
  async of(target: Target, digest: Digest, tags: ManifestEntry['tags']): Promise<TagMove[]> {
    const keys = tags.map(({ tag }) => `${formatTarget(target)} ${tag}`);
    const known = await this.#tables.tags.getMany(keys);
    return tags.flatMap(({ tag, ...said }, place) => {
      const before = known[place];
      const knownAt = before ? saidAt(before) : 0;
      if (knownAt > saidAt(said) && knownAt <= this.#now()) return [];
      return [{ tag, record: { digest, ...said }, before }];
    });
  }

  put(batch: Batch, target: Target, moves: readonly TagMove[]): void {
    const { tags, names } = this.#tables;
    for (const { tag, record, before } of moves) {
      batch.put(`${formatTarget(target)} ${tag}`, record, { sublevel: tags });
      if (before?.digest === record.digest) continue;
      batch.put(`${unitOf(target, record.digest)} ${tag}`, 1, { sublevel: names });
      if (before) batch.del(`${unitOf(target, before.digest)} ${tag}`, { sublevel: names });
    }
  }
}
