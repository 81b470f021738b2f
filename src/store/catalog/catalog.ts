import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatTarget, type Repository, type Tag, type Target } from '../../oci/reference.ts';
import type { CatalogOptions, Link, ManifestEntry, Usage } from './facts.ts';
import { ImageGraph, unitOf } from './image-graph.ts';
import type { JournalEntry } from '../journal/journal-entry.ts';
import { listMembers } from './members.ts';
import { migrate } from './migrate.ts';
import { Recollection } from './recollection.ts';
import { Release, type Released } from './release.ts';
import {
  below,
  SCHEMA_VERSION,
  tagOf,
  Tables,
  type Batch,
  type BlobRecord,
  type ManifestRecord,
  type TagRecord,
} from './tables.ts';
import { Turns } from '../turns.ts';

export type { BlobRecord, ManifestRecord, TagRecord } from './tables.ts';
export type { CatalogOptions, Link, ManifestEntry, Usage } from './facts.ts';

/** Records of each kind in memory. */
const MAX_HOT = 50_000;

/**
 * What is known of the bytes on disk: one method a fact, each write one atomic batch. The upstream
 * is part of every key but a blob's. Losing it loses no bytes.
 */
export class Catalog {
  readonly graph: ImageGraph;
  readonly tables: Tables;
  readonly journal: (entries: readonly JournalEntry[]) => void;
  /** Writes that change what holds what go one after the other. */
  readonly #turns = new Turns();
  #usage: Usage = { blobs: 0, bytes: 0 };
  /** Settles when the records of earlier runs are counted. */
  readonly counted: Promise<void>;
  #isClosing = false;
  readonly #hotTags: Recollection<TagRecord>;
  readonly #hotManifests: Recollection<ManifestRecord>;
  readonly #hotBlobs: Recollection<BlobRecord>;
  readonly #hotLinks: Recollection<Link>;

  /** Throws when another process has it open or a newer version wrote it. */
  static async open(path: string, options: CatalogOptions): Promise<Catalog> {
    const tables = await Tables.open(path, options);
    try {
      if ((await tables.schema()) !== SCHEMA_VERSION)
        await migrate(tables, options.readBytes, options.step);
    } catch (error) {
      await tables.close();
      throw error;
    }
    return new Catalog(tables, options);
  }

  constructor(tables: Tables, options: Pick<CatalogOptions, 'journal' | 'unreadable'>) {
    this.tables = tables;
    this.graph = new ImageGraph(tables);
    this.journal = options.journal ?? (() => undefined);
    const { unreadable = () => undefined } = options;
    const recollect = <Value extends {}>(read: (key: string) => Promise<Value | undefined>) =>
      new Recollection({ max: MAX_HOT, read, unreadable });
    this.#hotTags = recollect((key) => tables.tags.get(key));
    this.#hotManifests = recollect((key) => tables.manifests.get(key));
    this.#hotBlobs = recollect((key) => tables.blobs.get(key));
    this.#hotLinks = recollect((key) => this.graph.link(key));
    // Beside the work, which need not wait for it: the iterator sees the store as it was.
    this.counted = this.#countHeld().catch(unreadable);
  }

  /** Exact once the records of earlier runs are counted, a moment after the start. */
  get usage(): Usage {
    return this.#usage;
  }

  async findTag(target: Target, tag: Tag): Promise<TagRecord | undefined> {
    return this.#hotTags.find(key(target, tag));
  }

  /** Of a manifest that is let go of at the same moment nothing is recorded. */
  async recordTag(target: Target, tag: Tag, record: TagRecord): Promise<void> {
    await this.#turns.take(async () => this.#recordTag(target, tag, record));
  }

  async #recordTag(target: Target, tag: Tag, record: TagRecord): Promise<void> {
    const { tables } = this;
    if (!(await tables.manifests.has(unitOf(target, record.digest)))) return;
    const earlier = await this.findTag(target, tag);
    await tables.write((batch) => {
      batch.put(key(target, tag), record, { sublevel: tables.tags });
      if (earlier?.digest === record.digest) return;
      batch.put(`${unitOf(target, record.digest)} ${tag}`, 1, { sublevel: tables.names });
      if (!earlier) return;
      batch.del(`${unitOf(target, earlier.digest)} ${tag}`, { sublevel: tables.names });
    });
    this.#hotTags.set(key(target, tag), record);
    if (earlier?.digest !== record.digest) this.journal([tagEntry(target, tag, record)]);
  }

  /** In byte order, as the tags list of the distribution spec wants it. */
  async listTags(target: Target): Promise<Tag[]> {
    const keys = await this.tables.tags.keys(below(formatTarget(target))).all();
    return keys.map(tagOf);
  }

  /** Repositories of which a manifest is held, in byte order; leaps from one to the next. */
  async listRepositories(upstream: string): Promise<Repository[]> {
    const found: Repository[] = [];
    const lt = `${upstream}0`;
    for (let gt = `${upstream}/`; ;) {
      const [entry] = await this.tables.manifests.keys({ gt, lt, limit: 1 }).all();
      if (entry === undefined) return found.toSorted((a, b) => (a < b ? -1 : 1));
      const repository = entry.slice(upstream.length + 1, entry.indexOf(' '));
      found.push(repository as Repository);
      gt = below(`${upstream}/${repository}`).lt;
    }
  }

  async findManifest(target: Target, digest: Digest): Promise<ManifestRecord | undefined> {
    return this.#hotManifests.find(key(target, digest));
  }

  /** The manifest, its blob, its tags, its place among its subject's referrers, what it holds. */
  async recordManifest(target: Target, entry: ManifestEntry, now: number): Promise<void> {
    await this.#turns.take(async () => {
      const tags = await this.graph.newest(target, entry.tags, now);
      await this.#recordManifest(target, { ...entry, tags }, now);
      const { digest, mediaType } = entry.descriptor;
      this.journal([
        { manifest: digest, of: formatTarget(target), type: mediaType, at: now },
        ...tags.map(({ tag, checkedAt }) => tagEntry(target, tag, { digest, checkedAt })),
      ]);
    });
  }

  async #recordManifest(target: Target, entry: ManifestEntry, now: number): Promise<void> {
    const { tables } = this;
    const { digest, mediaType, size } = entry.descriptor;
    const record: ManifestRecord = { mediaType, size, storedAt: now };
    const unit = unitOf(target, digest);
    const known = await this.findBlob(digest);
    const blob = known ?? { size, storedAt: now };
    const lastPull = await this.graph.lastPull(unit);
    const isPulled = entry.isPulled !== false || (await this.graph.wasPulled({ target, digest }));
    const moved = await this.graph.movedNames(target, digest, entry.tags);
    await tables.write((batch) => {
      for (const name of moved) batch.del(name, { sublevel: tables.names });
      batch.put(unit, record, { sublevel: tables.manifests });
      batch.put(digest, blob, { sublevel: tables.blobs });
      batch.put(digest, listMembers(entry), { sublevel: tables.members });
      batch.put(`${digest} ${formatTarget(target)}`, 1, { sublevel: tables.links });
      for (const held of [digest, ...entry.successors.map((successor) => successor.digest)]) {
        batch.put(`${held} ${unit}`, 1, { sublevel: tables.holders });
      }
      for (const { tag, checkedAt } of entry.tags) {
        batch.put(key(target, tag), { digest, checkedAt }, { sublevel: tables.tags });
        batch.put(`${unit} ${tag}`, 1, { sublevel: tables.names });
      }
      if (entry.subject) {
        const referrer = `${unitOf(target, entry.subject)} ${digest}`;
        batch.put(referrer, entry.descriptor, { sublevel: tables.referrers });
      }
      tables.putAccess(batch, unit, isPulled ? now : now - 1, lastPull);
    });
    this.#admit(digest, blob, known);
    this.#hotManifests.set(unit, record);
    this.#hotLinks.set(`${digest} ${formatTarget(target)}`, 'proven');
    for (const { tag, checkedAt } of entry.tags) {
      this.#hotTags.set(key(target, tag), { digest, checkedAt });
    }
  }

  async findBlob(digest: Digest): Promise<BlobRecord | undefined> {
    return this.#hotBlobs.find(digest);
  }

  /** The blob is on disk, and this repository is proven to hold it. */
  async recordBlob(target: Target, digest: Digest, record: BlobRecord): Promise<void> {
    const place = `${digest} ${formatTarget(target)}`;
    await this.#turns.take(async () => {
      await this.#putBlob(digest, record, (batch) =>
        batch.put(place, 1, { sublevel: this.tables.links }),
      );
      this.#hotLinks.set(place, 'proven');
      await this.#tellLink(target, digest);
    });
  }

  /** The blob is on disk, and nobody knows for which repository. */
  async adoptBlob(digest: Digest, record: BlobRecord): Promise<void> {
    await this.#turns.take(async () => this.#putBlob(digest, record));
  }

  /** One that no manifest lists is a unit of its own. */
  async #putBlob(digest: Digest, record: BlobRecord, add?: (batch: Batch) => void): Promise<void> {
    const { tables } = this;
    const known = await this.findBlob(digest);
    const holders = await tables.holders.keys({ ...below(digest), limit: 1 }).all();
    const lastPull = await this.graph.lastPull(digest);
    await tables.write((batch) => {
      batch.put(digest, record, { sublevel: tables.blobs });
      add?.(batch);
      if (holders.length === 0) tables.putAccess(batch, digest, record.storedAt, lastPull);
    });
    this.#admit(digest, record, known);
  }

  /** What is known of the file of a recorded blob changes; one that is forgotten stays so. */
  async updateBlob(digest: Digest, change: Partial<BlobRecord>): Promise<void> {
    await this.#turns.take(async () => {
      const known = await this.findBlob(digest);
      if (!known) return;
      const record = { ...known, ...change };
      const { blobs } = this.tables;
      // Losing it costs one more reading.
      await this.tables.write((batch) => batch.put(digest, record, { sublevel: blobs }), {
        sync: false,
      });
      this.#hotBlobs.set(digest, record);
    });
  }

  /** The blob's file turned out missing or damaged. Links stay: the repository still has it. */
  async forgetBlob(digest: Digest): Promise<void> {
    await this.#turns.take(async () => {
      const known = await this.findBlob(digest);
      if (!known) return;
      await this.tables.write((batch) => batch.del(digest, { sublevel: this.tables.blobs }));
      this.#hotBlobs.delete(digest); // Not before: who looks meanwhile would keep the old record.
      this.#count(-1, -known.size);
    });
  }

  async findLink(target: Target, digest: Digest): Promise<Link | undefined> {
    return this.#hotLinks.find(`${digest} ${formatTarget(target)}`);
  }

  async recordLink(target: Target, digest: Digest): Promise<void> {
    const place = `${digest} ${formatTarget(target)}`;
    await this.#turns.take(async () => {
      await this.tables.write((batch) => batch.put(place, 1, { sublevel: this.tables.links }));
      this.#hotLinks.set(place, 'proven');
      await this.#tellLink(target, digest);
    });
  }

  /** What a manifest of the repository lists needs no word of its own. */
  async #tellLink(target: Target, digest: Digest): Promise<void> {
    for await (const _ of this.graph.holdersIn(target, digest)) return;
    this.journal([{ blob: digest, of: formatTarget(target) }]);
  }

  /** Manifests held in this repository whose subject is this digest. */
  async listReferrers(target: Target, subject: Digest): Promise<Descriptor[]> {
    return this.tables.referrers.values(below(unitOf(target, subject))).all();
  }

  /** In byte order. */
  async *listBlobs(): AsyncIterable<[Digest, BlobRecord]> {
    for await (const [digest, record] of this.tables.blobs.iterator()) {
      yield [digest as Digest, record];
    }
  }

  /** What letting go of a unit would remove, on top of what `gone` says went before. */
  async planRelease(unit: string, gone: Set<string>): Promise<Released> {
    return new Release({ tables: this.tables, graph: this.graph, gone }).plan(unit);
  }

  /** Lets go of a unit. The files of its blobs are the caller's to remove, afterwards. */
  async release(unit: string): Promise<Released> {
    return this.#turns.take(async () => {
      const release = new Release({ tables: this.tables, graph: this.graph });
      const released = await release.plan(unit);
      await this.tables.write((batch) => release.apply(batch));
      this.#forgetReleased(released, unit);
      return released;
    });
  }

  #forgetReleased(released: Released, unit: string): void {
    const { manifests, tags, unlinked, places, blobs, bytes } = released;
    for (const place of places) this.#hotLinks.delete(place);
    const of = unit.slice(0, Math.max(0, unit.lastIndexOf(' ')));
    for (const { target, digest } of manifests) this.#hotManifests.delete(unitOf(target, digest));
    for (const tag of tags) this.#hotTags.delete(`${of} ${tag}`);
    for (const { digest } of blobs) this.#hotBlobs.delete(digest);
    this.#count(-blobs.length, -bytes);
    this.journal([
      ...tags.map((tag) => ({ untagged: tag, of })),
      ...manifests.map(({ digest }) => ({ gone: digest, of })),
      ...unlinked.map(({ target, digest }) => ({ gone: digest, of: formatTarget(target) })),
    ]);
  }

  /** Last pulls of units that exist; an earlier time than the known one changes nothing. */
  async recordAccess(pulls: ReadonlyMap<string, number>): Promise<void> {
    if (pulls.size === 0) return;
    await this.#turns.take(async () => {
      const known = await this.tables.access.getMany([...pulls.keys()]);
      const put = (batch: Batch): void => {
        for (const [position, [unit, time]] of [...pulls].entries()) {
          const earlier = known[position];
          // What was let go of meanwhile stays so.
          if (earlier === undefined || earlier >= time) continue;
          this.tables.putAccess(batch, unit, time, earlier);
        }
      };
      // No image is lost with it.
      await this.tables.write(put, { sync: false });
    });
  }

  async close(): Promise<void> {
    // An iterator in its first step and a closing database would wait for each other.
    this.#isClosing = true;
    await this.counted;
    await this.#turns.take(async () => this.tables.close());
  }

  async #countHeld(): Promise<void> {
    for await (const { size } of this.tables.blobs.values()) {
      if (this.#isClosing) return;
      this.#count(1, size);
    }
  }

  /** After its record is written: what could not be is neither counted nor remembered. */
  #admit(digest: Digest, record: BlobRecord, known: BlobRecord | undefined): void {
    if (!known) this.#count(1, record.size);
    this.#hotBlobs.set(digest, record);
  }

  #count(blobs: number, bytes: number): void {
    this.#usage = { blobs: this.#usage.blobs + blobs, bytes: this.#usage.bytes + bytes };
  }
}

function key(target: Target, item: string): string {
  return `${formatTarget(target)} ${item}`;
}

function tagEntry(target: Target, tag: Tag, { digest, checkedAt }: TagRecord): JournalEntry {
  return { tag, of: formatTarget(target), is: digest, at: checkedAt };
}
