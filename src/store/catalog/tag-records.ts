import { formatTarget, type Tag, type Target } from '../../oci/reference.ts';
import { TEXTS } from '../texts.ts';
import type { Batch, Tables } from './tables.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  saidAt,
  unitOf,
  type ManifestEntry,
  type MovedTag,
  type TagMeaning,
  type TagRecord,
} from './catalog.ts';

/** Repositories with a list. */
const MAX_LISTS = 2_000;
/** Of one list: more tags than are looked through by name, in a value that is read within milliseconds. */
const MAX_TAGS = 20_000;
const MAX_BYTES = 512 * 1024;
/** Of all lists together. */
const MAX_TOTAL_BYTES = 32 * 1024 * 1024;
/** Of a tag in its list beside its characters. */
const QUOTES_BYTES = 3;

interface Sized {
  readonly key: string;
  readonly at: number;
  readonly bytes: number;
}

/**
 * Lists of tags as upstreams told them, whole. They are few and small: a list that is too long is not
 * kept, and beyond 2,000 lists or 32 MiB those go that have not changed for longest. Writes come one at
 * a time, and are not synced: what a power loss takes is told again.
 */
export class TagLists {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** Writes what has changed, and nothing else. */
  async record(target: Target, tags: readonly Tag[] | undefined, now: number): Promise<void> {
    const { lists, listed } = this.#tables;
    const key = formatTarget(target);
    const known = await lists.get(key);
    const bytes = tags?.reduce((sum, tag) => sum + tag.length + QUOTES_BYTES, 0) ?? 0;
    const kept = tags && tags.length <= MAX_TAGS && bytes <= MAX_BYTES ? tags : undefined;
    if (isSame(known, kept)) return;
    const dropped = kept ? await this.#oldest(key, bytes) : [key];
    const write = (batch: Batch): void => {
      for (const each of dropped) {
        batch.del(each, { sublevel: lists });
        batch.del(each, { sublevel: listed });
      }
      if (!kept) return;
      batch.put(key, kept, { sublevel: lists });
      batch.put(key, { at: now, bytes }, { sublevel: listed });
    };
    await this.#tables.write(write, { sync: false });
  }

  /** What makes room for a list of so many bytes under this key. */
  async #oldest(key: string, bytes: number): Promise<string[]> {
    const all = await this.#tables.listed.iterator().all();
    const others = all
      .flatMap(([other, size]): Sized[] => (other === key ? [] : [{ key: other, ...size }]))
      .toSorted((a, b) => a.at - b.at);
    let total = others.reduce((sum, other) => sum + other.bytes, bytes);
    let count = others.length + 1;
    const dropped: string[] = [];
    for (const other of others) {
      if (count <= MAX_LISTS && total <= MAX_TOTAL_BYTES) break;
      dropped.push(other.key);
      total -= other.bytes;
      count -= 1;
    }
    return dropped;
  }
}

function isSame(known: readonly Tag[] | undefined, told: readonly Tag[] | undefined): boolean {
  if (!known || !told) return known === told;
  return known.length === told.length && known.every((tag, place) => tag === told[place]);
}

/** What a tag is about to mean, and what it meant before. */
export interface TagMove {
  readonly tag: Tag;
  readonly record: TagRecord;
  readonly before: TagRecord | undefined;
}

/** The tag, where it meant another manifest before. */
export function movedFrom({ tag, record, before }: TagMove): readonly MovedTag[] {
  if (!before || before.digest === record.digest) return [];
  return [{ tag, from: before.digest, saidAt: before.checkedAt }];
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

  /** All of them, whatever was known. Throws when one of the manifests is not held. */
  async ofAll(meanings: readonly TagMeaning[]): Promise<(TagMove & Pick<TagMeaning, 'target'>)[]> {
    const images = meanings.map(({ target, record }) => unitOf(target, record.digest));
    const held = await this.#tables.manifests.getMany(images);
    const lost = images.find((_, place) => held[place] === undefined);
    if (lost !== undefined) throw new Error(TEXTS.noManifest({ image: lost }));
    const keys = meanings.map(({ target, tag }) => `${formatTarget(target)} ${tag}`);
    const known = await this.#tables.tags.getMany(keys);
    return meanings.map((meaning, place) => ({ ...meaning, before: known[place] }));
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
