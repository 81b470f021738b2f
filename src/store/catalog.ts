import { Level } from 'level';
import { LRUCache } from 'lru-cache';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Repository, type Tag, type Target } from '../oci/reference.ts';

/** What a tag was last known to mean, and when upstream said so (milliseconds since 1970). */
export interface TagRecord {
  readonly digest: Digest;
  readonly checkedAt: number;
}

export interface ManifestRecord {
  readonly mediaType: string;
  readonly size: number;
  readonly storedAt: number;
}

export interface BlobRecord {
  readonly size: number;
  readonly storedAt: number;
}

/**
 * `proven`: the upstream served this digest from this repository. `claimed`: a manifest of the
 * repository lists it, which is not yet proof that the repository may read it.
 */
export type Link = 'proven' | 'claimed';

/** How much is held. */
export interface Usage {
  readonly blobs: number;
  readonly bytes: number;
}

/** A manifest as it enters the catalog. */
export interface ManifestEntry {
  readonly descriptor: Descriptor;
  readonly successors: readonly Descriptor[];
  readonly subject?: Digest;
  /** Tags that upstream says mean this manifest, and when it said so. */
  readonly tags: readonly { readonly tag: Tag; readonly checkedAt: number }[];
}

const SCHEMA_VERSION = 1;

/**
 * What is known of the bytes on disk: one method a fact, each write one atomic batch. Keys are
 * parts joined by a space, which no name, tag or digest contains; the upstream is part of every key
 * but a blob's. Losing it loses no bytes.
 */
export class Catalog {
  readonly #db: Level<string, unknown>;
  readonly #sync: boolean;
  readonly #tags;
  readonly #manifests;
  readonly #blobs;
  readonly #proofs;
  readonly #claims;
  readonly #referrers;
  #usage: Usage = { blobs: 0, bytes: 0 };
  readonly #counted: Promise<void>;
  #isClosing = false;
  readonly #hotTags = new LRUCache<string, TagRecord>({ max: 50_000 });
  readonly #hotManifests = new LRUCache<string, ManifestRecord>({ max: 50_000 });
  readonly #hotBlobs = new LRUCache<string, BlobRecord>({ max: 50_000 });
  readonly #hotLinks = new LRUCache<string, Link>({ max: 100_000 });

  /** Throws when another process has it open or a newer version wrote it. */
  static async open(path: string, options: { durability: 'full' | 'rename' }): Promise<Catalog> {
    const db = new Level<string, unknown>(path, { valueEncoding: 'json' });
    await openExclusively(db, path);
    const meta = db.sublevel<string, number>('meta', { valueEncoding: 'json' });
    const version = await meta.get('schema');
    if (version !== undefined && version > SCHEMA_VERSION) {
      await db.close();
      throw new Error(
        `${path} was written by a newer version (schema ${version}, this one knows ${SCHEMA_VERSION}): run that version, or point store.path elsewhere`,
      );
    }
    await meta.put('schema', SCHEMA_VERSION);
    return new Catalog(db, options.durability === 'full');
  }

  constructor(db: Level<string, unknown>, sync: boolean) {
    this.#db = db;
    this.#sync = sync;
    this.#tags = db.sublevel<string, TagRecord>('tags', { valueEncoding: 'json' });
    this.#manifests = db.sublevel<string, ManifestRecord>('manifests', { valueEncoding: 'json' });
    this.#blobs = db.sublevel<string, BlobRecord>('blobs', { valueEncoding: 'json' });
    this.#proofs = db.sublevel<string, 1>('proofs', { valueEncoding: 'json' });
    this.#claims = db.sublevel<string, 1>('claims', { valueEncoding: 'json' });
    this.#referrers = db.sublevel<string, Descriptor>('referrers', { valueEncoding: 'json' });
    // Beside the work, which need not wait for it: the iterator sees the store as it was.
    this.#counted = this.#countHeld().catch(() => undefined);
  }

  /** Exact once the records of earlier runs are counted, a moment after the start. */
  get usage(): Usage {
    return this.#usage;
  }

  async findTag(target: Target, tag: Tag): Promise<TagRecord | undefined> {
    return recall(this.#hotTags, this.#tags, key(target, tag));
  }

  async recordTag(target: Target, tag: Tag, record: TagRecord): Promise<void> {
    const batch = this.#db.batch();
    batch.put(key(target, tag), record, { sublevel: this.#tags });
    await batch.write({ sync: this.#sync });
    this.#hotTags.set(key(target, tag), record);
  }

  /** In byte order, as the tags list of the distribution spec wants it. */
  async listTags(target: Target): Promise<Tag[]> {
    const keys = await this.#tags.keys(below(formatTarget(target))).all();
    return keys.map((entry) => entry.slice(entry.lastIndexOf(' ') + 1) as Tag);
  }

  /** Repositories of which a manifest is held, in byte order; leaps from one to the next. */
  async listRepositories(upstream: string): Promise<Repository[]> {
    const found: Repository[] = [];
    const lt = `${upstream}0`;
    for (let gt = `${upstream}/`; ;) {
      const [entry] = await this.#manifests.keys({ gt, lt, limit: 1 }).all();
      if (entry === undefined) return found.toSorted((a, b) => (a < b ? -1 : 1));
      const repository = entry.slice(upstream.length + 1, entry.indexOf(' '));
      found.push(repository as Repository);
      gt = below(`${upstream}/${repository}`).lt;
    }
  }

  async findManifest(target: Target, digest: Digest): Promise<ManifestRecord | undefined> {
    return recall(this.#hotManifests, this.#manifests, key(target, digest));
  }

  /** The manifest, its blob, its tags, its place among its subject's referrers, its children. */
  async recordManifest(target: Target, entry: ManifestEntry, now: number): Promise<void> {
    const { digest, mediaType, size } = entry.descriptor;
    const record: ManifestRecord = { mediaType, size, storedAt: now };
    await this.#admitBlob(digest, { size, storedAt: now });
    const batch = this.#db.batch();
    batch.put(key(target, digest), record, { sublevel: this.#manifests });
    batch.put(digest, { size, storedAt: now }, { sublevel: this.#blobs });
    batch.put(key(target, digest), 1, { sublevel: this.#proofs });
    for (const successor of entry.successors) {
      batch.put(key(target, successor.digest), 1, { sublevel: this.#claims });
    }
    for (const { tag, checkedAt } of entry.tags) {
      batch.put(key(target, tag), { digest, checkedAt }, { sublevel: this.#tags });
    }
    if (entry.subject) {
      const referrer = `${key(target, entry.subject)} ${digest}`;
      batch.put(referrer, entry.descriptor, { sublevel: this.#referrers });
    }
    await batch.write({ sync: this.#sync });
    this.#hotManifests.set(key(target, digest), record);
    this.#hotLinks.set(key(target, digest), 'proven');
    for (const { tag, checkedAt } of entry.tags) {
      this.#hotTags.set(key(target, tag), { digest, checkedAt });
    }
  }

  async findBlob(digest: Digest): Promise<BlobRecord | undefined> {
    return recall(this.#hotBlobs, this.#blobs, digest);
  }

  /** The blob is on disk, and this repository is proven to hold it. */
  async recordBlob(target: Target, digest: Digest, record: BlobRecord): Promise<void> {
    await this.#admitBlob(digest, record);
    const batch = this.#db.batch();
    batch.put(digest, record, { sublevel: this.#blobs });
    batch.put(key(target, digest), 1, { sublevel: this.#proofs });
    await batch.write({ sync: this.#sync });
    this.#hotLinks.set(key(target, digest), 'proven');
  }

  /** The blob's file turned out missing or damaged. Links stay: the repository still has it. */
  async forgetBlob(digest: Digest): Promise<void> {
    const known = await this.findBlob(digest);
    // Two who find it missing at once forget it once.
    if (!known || !this.#hotBlobs.delete(digest)) return;
    this.#count(-1, -known.size);
    await this.#blobs.del(digest);
  }

  async findLink(target: Target, digest: Digest): Promise<Link | undefined> {
    const entry = key(target, digest);
    const known = this.#hotLinks.get(entry);
    if (known) return known;
    // Two sublevels, so that a claim never overwrites a proof written at the same time.
    const [proof, claim] = await Promise.all([this.#proofs.get(entry), this.#claims.get(entry)]);
    const link = proof ? 'proven' : claim ? 'claimed' : undefined;
    return link && keepNewest(this.#hotLinks, entry, link);
  }

  async recordLink(target: Target, digest: Digest): Promise<void> {
    await this.#proofs.put(key(target, digest), 1);
    this.#hotLinks.set(key(target, digest), 'proven');
  }

  /** Manifests held in this repository whose subject is this digest. */
  async listReferrers(target: Target, subject: Digest): Promise<Descriptor[]> {
    return this.#referrers.values(below(key(target, subject))).all();
  }

  async *listBlobs(): AsyncIterable<[Digest, BlobRecord]> {
    for await (const [digest, record] of this.#blobs.iterator()) yield [digest as Digest, record];
  }

  async *listManifests(): AsyncIterable<[string, ManifestRecord]> {
    yield* this.#manifests.iterator();
  }

  async close(): Promise<void> {
    // An iterator in its first step and a closing database would wait for each other.
    this.#isClosing = true;
    await this.#counted;
    await this.#db.close();
  }

  async #countHeld(): Promise<void> {
    for await (const { size } of this.#blobs.values()) {
      if (this.#isClosing) return;
      this.#count(1, size);
    }
  }

  /** In memory before it is on disk, so that two who record it at once count it once. */
  async #admitBlob(digest: Digest, record: BlobRecord): Promise<void> {
    const known = await this.findBlob(digest);
    if (!known && !this.#hotBlobs.has(digest)) this.#count(1, record.size);
    this.#hotBlobs.set(digest, record);
  }

  #count(blobs: number, bytes: number): void {
    this.#usage = { blobs: this.#usage.blobs + blobs, bytes: this.#usage.bytes + bytes };
  }
}

function key(target: Target, item: string): string {
  return `${formatTarget(target)} ${item}`;
}

/** The range of keys that continue a prefix: `!` is the character after the space. */
function below(prefix: string): { gt: string; lt: string } {
  return { gt: `${prefix} `, lt: `${prefix}!` };
}

async function recall<Value extends {}>(
  hot: LRUCache<string, Value>,
  cold: { get(key: string): Promise<NoInfer<Value> | undefined> },
  entry: string,
): Promise<Value | undefined> {
  const known = hot.get(entry);
  if (known !== undefined) return known;
  const value = await cold.get(entry);
  return value && keepNewest(hot, entry, value);
}

/** What was written while an older value was being read stays. */
function keepNewest<Value extends {}>(
  hot: LRUCache<string, Value>,
  entry: string,
  read: Value,
): Value {
  const written = hot.get(entry);
  if (written !== undefined) return written;
  hot.set(entry, read);
  return read;
}

async function openExclusively(db: Level<string, unknown>, path: string): Promise<void> {
  try {
    await db.open();
  } catch (error) {
    if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'LEVEL_LOCKED') {
      throw new Error(
        `${path} is in use by another process: stop the other Entrepot, or give this one its own store.path`,
        { cause: error },
      );
    }
    throw error;
  }
}
