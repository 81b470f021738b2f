import PQueue from 'p-queue';
import type { Digest } from '../../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../../oci/reference.ts';
import {
  unitOf,
  type BlobRecord,
  type Catalog,
  type Evicted,
  type Figure,
  type JournalEntry,
  type Link,
  type ManifestEntry,
  type ManifestRecord,
  type MovedTag,
  type PinChange,
  type PullTally,
  type Node,
  type TagMeaning,
  type TagRecord,
  type Usage,
} from './catalog.ts';
import type { LevelCatalogOptions } from './level-catalog-options.ts';
import { withFirstOrigin } from './first-origin.ts';
import { evictedEntries, Eviction } from './eviction.ts';
import { HotRecords } from './hot-records.ts';
import { HeldCount } from './held-count.ts';
import { manifestEntry, tagEntry } from './journal-entries.ts';
import { LevelAdmissionFacts } from './level-admission-facts.ts';
import { LevelReader } from './level-reader.ts';
import { PullClock } from '../../time/clock.ts';
import { putMembers } from './put-members.ts';
import { movedFrom, TagLists, TagMoves, type TagMove } from './tag-records.ts';
import { LevelScanRecords } from './level-scan-records.ts';
import { below, Tables, type Batch } from './tables.ts';

type Watcher = Parameters<Catalog['watch']>[0];

/** The catalog on LevelDB: each write is one atomic batch. */
export class LevelCatalog extends LevelReader implements Catalog {
  readonly #journal: (entries: readonly JournalEntry[]) => void;
  readonly #moves: TagMoves;
  /** Writes go one after the other: most depend on what they find. */
  readonly #writes = new PQueue({ concurrency: 1 });
  readonly #held: HeldCount;
  readonly #pulls: PullClock;
  readonly #isReplay: boolean;
  readonly #watchers: Watcher[] = [];
  readonly recent: HotRecords;
  readonly admission: LevelAdmissionFacts;
  readonly scans = new LevelScanRecords(this.tables, async (work) => this.#writes.add(work));

  /** Throws when another process has it open or a newer version wrote it. */
  static async open(path: string, options: LevelCatalogOptions): Promise<LevelCatalog> {
    const tables = await Tables.open(path, options);
    try {
      const pulls = new PullClock(await new LevelReader(tables).newestPull());
      return new LevelCatalog(tables, { ...options, pulls });
    } catch (error) {
      await tables.close();
      throw error;
    }
  }

  private constructor(
    tables: Tables,
    options: Omit<LevelCatalogOptions, 'durability'> & { readonly pulls: PullClock },
  ) {
    super(tables);
    const { journal = () => undefined, unreadable = () => undefined, now = Date.now } = options;
    this.#journal = journal;
    this.#pulls = options.pulls;
    this.#isReplay = options.isReplay ?? false;
    this.#moves = new TagMoves(tables, now);
    this.recent = new HotRecords(this, unreadable);
    this.admission = new LevelAdmissionFacts({
      tables,
      findManifest: async (...image) => this.findManifest(...image),
      inTurn: async (work) => this.#writes.add(work),
    });
    // Nobody need wait for the count: its iterator sees the store as it is now.
    this.#held = new HeldCount(tables.blobs.values(), unreadable);
  }

  get counted(): Promise<void> {
    return this.#held.counted;
  }

  get usage(): Usage {
    return this.#held.usage;
  }

  override async findTag(target: Target, tag: Tag): Promise<TagRecord | undefined> {
    return this.recent.tags.find(`${formatTarget(target)} ${tag}`);
  }

  async recordTag(target: Target, tag: Tag, record: TagRecord): Promise<void> {
    await this.#writes.add(async () => {
      const { digest, ...said } = record;
      // The manifest may have been evicted at the same moment.
      if (!(await this.isHeld({ target, digest }))) return;
      const moves = await this.#moves.of(target, digest, [{ tag, ...said }]);
      if (moves.length === 0) return;
      await this.tables.write((batch) => this.#moves.put(batch, target, moves));
      this.#rememberTags(target, moves);
    });
  }

  async setTags(meanings: readonly TagMeaning[]): Promise<void> {
    await this.#writes.add(async () => {
      const moves = await this.#moves.ofAll(meanings);
      await this.tables.write((batch) => {
        for (const move of moves) this.#moves.put(batch, move.target, [move]);
      });
      for (const move of moves) this.#rememberTags(move.target, [move]);
    });
  }

  #rememberTags(target: Target, moves: readonly TagMove[]): void {
    for (const { tag, record, before } of moves) {
      this.recent.tags.set(`${formatTarget(target)} ${tag}`, record);
      if (before?.digest === record.digest && before.goneAt === record.goneAt) continue;
      this.#journal([tagEntry(target, tag, record)]);
    }
    const changed = moves.filter(({ record, before }) => record.digest !== before?.digest);
    if (changed.length === 0) return;
    this.#tell(target, changed.flatMap(movedFrom));
  }

  async findManifest(target: Target, digest: Digest): Promise<ManifestRecord | undefined> {
    return this.recent.findManifest(target, digest);
  }

  async recordManifest(target: Target, entry: ManifestEntry, now: number): Promise<void> {
    await this.#writes.add(async () => this.#recordManifest(target, entry, now));
  }

  async #recordManifest(target: Target, entry: ManifestEntry, now: number): Promise<void> {
    const { tables } = this;
    const { digest, mediaType, size } = entry.descriptor;
    const proven = [digest, ...(entry.proven ?? [])];
    const [unit, known] = [unitOf(target, digest), await this.findBlob(digest)];
    const from = this.#isReplay ? {} : { upstream: target.upstream };
    const blob = known ?? { size, storedAt: now, ...from };
    const lastPull = await this.lastPull(unit);
    const isKnown = await this.isHeld({ target, digest });
    const seen = await this.admission.firstSight(target, digest);
    const isPulled = entry.isPulled !== false || (await this.wasPulled({ target, digest }));
    // A pull in the same millisecond comes after it.
    const at = this.pullMoment(now) - (isPulled ? 0 : 1);
    // Not before what is known to be past: the clock may have lost its battery.
    const seenAt = Math.min(seen ?? Math.max(now, at), entry.seenAt ?? Infinity);
    const unpulled = !isPulled && { unpulledAt: at };
    const first = seenAt !== now && { seenAt };
    const record: ManifestRecord = { mediaType, size, storedAt: now, ...first, ...unpulled };
    const moves = await this.#moves.of(target, digest, entry.tags);
    await tables.write((batch) => {
      batch.put(unit, record, { sublevel: tables.manifests });
      batch.put(digest, blob, { sublevel: tables.blobs });
      putMembers(batch, tables, { target, entry });
      for (const each of proven) this.#putLink(batch, target, each);
      this.#moves.put(batch, target, moves);
      tables.putAccess(batch, unit, at, lastPull);
    });
    this.#admit(digest, blob, known);
    if (!isKnown) this.#tell(target);
    this.recent.manifests.set(unit, record);
    for (const each of proven) this.recent.links.set(`${each} ${formatTarget(target)}`, 'proven');
    this.#journal([manifestEntry(target, digest, record)]);
    this.#rememberTags(target, moves);
  }

  override async findBlob(digest: Digest): Promise<BlobRecord | undefined> {
    return this.recent.blobs.find(digest);
  }

  async recordBlob(target: Target, digest: Digest, record: BlobRecord): Promise<void> {
    await this.#writes.add(async () => {
      const at = this.pullMoment(record.storedAt);
      await this.#putBlob(digest, record, { at, put: (to) => this.#putLink(to, target, digest) });
      await this.#rememberLink(target, digest);
    });
  }

  async adoptBlob(digest: Digest, record: BlobRecord): Promise<void> {
    const at = this.#pulls.see(record.storedAt);
    await this.#writes.add(async () => this.#putBlob(digest, record, { at }));
  }

  /** One that no manifest lists is a unit of its own. */
  async #putBlob(
    digest: Digest,
    given: BlobRecord,
    { at, put }: { at: number; put?: (batch: Batch) => void },
  ): Promise<void> {
    const known = await this.findBlob(digest);
    const record = withFirstOrigin(given, known);
    const holders = await this.tables.holders.keys({ ...below(digest), limit: 1 }).all();
    const lastPull = await this.lastPull(digest);
    await this.tables.write((batch) => {
      batch.put(digest, record, { sublevel: this.tables.blobs });
      put?.(batch);
      if (holders.length === 0) this.tables.putAccess(batch, digest, at, lastPull);
    });
    this.#admit(digest, record, known);
  }

  async updateBlob(digest: Digest, change: Partial<BlobRecord>): Promise<void> {
    await this.#writes.add(async () => {
      const known = await this.findBlob(digest);
      if (!known) return;
      const record = { ...known, ...change };
      const put = (batch: Batch) => batch.put(digest, record, { sublevel: this.tables.blobs });
      // Not synced: a loss costs one more reading of the file.
      await this.tables.write(put, { sync: false });
      this.recent.blobs.set(digest, record);
    });
  }

  async forgetBlob(digest: Digest): Promise<void> {
    await this.#writes.add(async () => {
      const known = await this.findBlob(digest);
      if (!known) return;
      await this.tables.write((batch) => batch.del(digest, { sublevel: this.tables.blobs }));
      // After the write: a reader before it would remember the old record.
      this.recent.blobs.delete(digest);
      this.#held.add(-1, -known.size);
    });
  }

  async findLink(target: Target, digest: Digest): Promise<Link | undefined> {
    return this.recent.links.find(`${digest} ${formatTarget(target)}`);
  }

  async recordLink(target: Target, digest: Digest): Promise<void> {
    await this.#writes.add(async () => {
      await this.tables.write((batch) => this.#putLink(batch, target, digest));
      await this.#rememberLink(target, digest);
    });
  }

  #putLink(batch: Batch, target: Target, digest: Digest): void {
    batch.put(`${digest} ${formatTarget(target)}`, 1, { sublevel: this.tables.links });
  }

  /** In the journal stands no link to what a manifest of the repository lists. */
  async #rememberLink(target: Target, digest: Digest): Promise<void> {
    this.recent.links.set(`${digest} ${formatTarget(target)}`, 'proven');
    for await (const _ of this.holdersIn(target, digest)) return;
    this.#journal([{ blob: digest, of: formatTarget(target) }]);
  }

  planEvictions(): (unit: string, only?: Tag) => Promise<Evicted> {
    const removed = new Set<string>();
    return async (unit, only) => new Eviction(this, removed).plan(unit, only);
  }

  async evict(unit: string, only?: Tag): Promise<Evicted> {
    return this.#writes.add(async () => {
      const eviction = new Eviction(this);
      const evicted = await eviction.plan(unit, only);
      const left = await this.admission.leave(evicted.manifests);
      await this.tables.write((batch) => {
        eviction.apply(batch);
        left(batch);
      });
      for (const link of eviction.links) this.recent.links.delete(link);
      this.#forgetEvicted(evicted, unit);
      return evicted;
    });
  }

  #forgetEvicted(evicted: Evicted, unit: string): void {
    const { manifests, tags, blobs, bytes } = evicted;
    const of = unit.slice(0, Math.max(0, unit.lastIndexOf(' ')));
    for (const { target, digest } of manifests)
      this.recent.manifests.delete(unitOf(target, digest));
    for (const tag of tags) this.recent.tags.delete(`${of} ${tag}`);
    for (const { digest } of blobs) this.recent.blobs.delete(digest);
    this.#held.add(-blobs.length, -bytes);
    this.#journal(evictedEntries(evicted, of));
  }

  pullMoment(now: number): number {
    return this.#isReplay ? this.#pulls.see(now) : this.#pulls.next(now);
  }

  async recordAccess(pulls: ReadonlyMap<string, PullTally>): Promise<void> {
    if (pulls.size === 0) return;
    await this.#writes.add(async () => this.tables.writePulls(pulls));
  }

  async recordUse(node: Node): Promise<void> {
    await this.#mark(node, 'uses');
  }

  async recordSearch(node: Node): Promise<void> {
    if (!(await this.wasSearched(node))) await this.#mark(node, 'searched');
  }

  async #mark(node: Node, table: 'uses' | 'searched'): Promise<void> {
    await this.#writes.add(async () => {
      if (!(await this.isHeld(node))) return;
      const [unit, sublevel] = [unitOf(node.target, node.digest), this.tables[table]];
      await this.tables.write((batch) => batch.put(unit, 1, { sublevel }));
    });
  }

  async recordTagList(target: Target, tags: readonly Tag[] | undefined, now: number) {
    await this.#writes.add(async () => new TagLists(this.tables).record(target, tags, now));
  }

  async changePins({ recorded = [], forgotten = [] }: PinChange): Promise<void> {
    const { pins: sublevel } = this.tables;
    await this.#write((batch) => {
      for (const pin of recorded) batch.put(`${pin.origin} ${pin.image}`, pin, { sublevel });
      for (const { origin, image } of forgotten) batch.del(`${origin} ${image}`, { sublevel });
    });
    const unpins = forgotten.map(({ origin, image }) => ({ unpin: { origin, image } }));
    this.#journal([...recorded.map((pin) => ({ pin })), ...unpins]);
  }

  watch(told: Watcher): void {
    this.#watchers.push(told);
  }

  #tell(target: Target, moved: readonly MovedTag[] = []): void {
    for (const told of this.#watchers) told(target, moved);
  }

  async recordFigure(name: Figure, bytes: number): Promise<void> {
    await this.#write((batch) => batch.put(name, bytes, { sublevel: this.tables.meta }));
  }

  async close(): Promise<void> {
    await this.#held.stop();
    await this.#writes.add(async () => this.tables.close());
  }

  async #write(fill: (batch: Batch) => void): Promise<void> {
    await this.#writes.add(async () => this.tables.write(fill));
  }

  /** Counts and remembers a blob, after its record was written. */
  #admit(digest: Digest, record: BlobRecord, known: BlobRecord | undefined): void {
    if (!known) this.#held.add(1, record.size);
    this.recent.blobs.set(digest, record);
  }
}
