import type { Digest } from '../../oci/digest.ts';
import { attachedSubject } from '../../oci/cosign.ts';
import { formatTarget, type Tag, type Target } from '../../oci/reference.ts';
import { nodeOf, unitOf, type Evicted, type JournalEntry, type Node } from './catalog.ts';
import type { LevelReader } from './level-reader.ts';
import { readMany } from './many-records.ts';
import { keysBelow, recencyKey, tagOf, type Batch } from './tables.ts';

type TableName = 'tags' | 'names' | 'manifests' | 'members' | 'blobs' | 'links' | 'holders';
type Removal = readonly [
  (
    | TableName
    | 'referrers'
    | 'access'
    | 'recency'
    | 'pulls'
    | 'uses'
    | 'searched'
    | 'admitted'
    | 'admittedAs'
    | 'findings'
    | 'lists'
    | 'listed'
    | 'scans'
  ),
  string,
];

/**
 * Works out what the eviction of one unit removes: the manifest with all that it alone holds, in
 * its repository, and the blobs that then no repository holds. Nothing is written; `removed` carries
 * edges that count as removed from one planned eviction to the next.
 */
export class Eviction {
  readonly #graph: LevelReader;
  readonly #removed: Set<string>;
  readonly #removals: Removal[] = [];
  readonly #tags: Tag[] = [];
  readonly #unlinked: Node[] = [];
  readonly #links = new Set<string>();
  readonly #visited = new Map<string, Node>();
  readonly #left = new Map<string, Node>();
  /** Digests that lost a holder, with the repository where. */
  readonly #loosened = new Map<string, Node>();
  /** Digests that nothing holds any more. */
  readonly #free = new Set<Digest>();

  constructor(graph: LevelReader, removed = new Set<string>()) {
    this.#graph = graph;
    this.#removed = removed;
  }

  /** Keys of links, `digest target`, that the eviction changes. */
  get links(): ReadonlySet<string> {
    return this.#links;
  }

  /** Of all that the unit is; with `only`, of one of its tags, and the rest of it stays. */
  async plan(unit: string, only?: Tag): Promise<Evicted> {
    const node = nodeOf(unit);
    if (node && only !== undefined) {
      if ((await this.#graph.tagsOf(node)).includes(only)) this.#forgetTag(node, only);
    } else if (node) await this.#visit(node);
    const digests = node
      ? new Set([...this.#loosened.values()].map(({ digest }) => digest))
      : new Set([unit as Digest]);
    if (node) await this.#forgetList(node.target);
    if (only === undefined) await this.#forgetUnit(unit);
    for (const digest of digests) await this.#freeUnlessHeld(digest);
    const blobs = await this.#forgetBlobs();
    await this.#forgetLinks();
    const manifests = [...this.#visited.values()];
    const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
    const left = [...this.#left].filter(([each]) => !this.#visited.has(each)).map(([, of]) => of);
    return { tags: this.#tags, manifests, unlinked: this.#unlinked, blobs, bytes, left };
  }

  /** Adds the removals to a batch. */
  apply(batch: Batch): void {
    for (const [table, key] of this.#removals) {
      batch.del(key, { sublevel: this.#graph.tables[table] });
    }
  }

  async #visit(node: Node): Promise<void> {
    const { target, digest } = node;
    const unit = unitOf(target, digest);
    if (this.#visited.has(unit) || !(await this.#graph.isHeld(node))) return;
    this.#visited.set(unit, node);
    this.#remove('manifests', unit);
    this.#remove('uses', unit);
    this.#remove('searched', unit);
    await this.#forgetJudged(node);
    this.#removeHolder(node, digest);
    await this.#forgetUnit(unit);
    for (const tag of await this.#graph.tagsOf(node)) this.#forgetTag(node, tag);
    const members = await this.#graph.members(digest);
    if (members?.subject) {
      this.#remove('referrers', `${unitOf(target, members.subject)} ${digest}`);
    }
    const successors = members?.successors ?? [];
    for (const member of successors) this.#removeHolder({ target, digest: member.digest }, digest);
    const digests = successors.map((member) => member.digest);
    for (const member of await this.#graph.heldOf(target, digests)) {
      await this.#visitUnlessHeld({ target, digest: member });
    }
    const referrers = await Array.fromAsync(this.#graph.referrers(node));
    for (const referrer of await this.#graph.heldOf(target, referrers)) {
      await this.#visitUnlessHeld({ target, digest: referrer }, digest);
    }
  }

  /** What is known of it for who judges it, but for when it was first seen. */
  async #forgetJudged({ target, digest }: Node): Promise<void> {
    const { admittedAs, findings } = this.#graph.tables;
    const unit = unitOf(target, digest);
    for await (const key of keysBelow(findings, unit)) this.#remove('findings', key);
    for await (const key of keysBelow(admittedAs, unit)) {
      this.#remove('admittedAs', key);
      this.#remove('admitted', `${formatTarget(target)} ${tagOf(key)}`);
    }
  }

  /** A manifest is evicted with what held it, unless something else or a tag of its own holds it. */
  async #visitUnlessHeld(node: Node, subject?: Digest): Promise<void> {
    if (await this.#isListed(node)) return;
    for (const tag of await this.#graph.tagsOf(node)) {
      if (subject && tag.startsWith(subject.replace(':', '-'))) continue;
      this.#left.set(unitOf(node.target, node.digest), node);
      return;
    }
    await this.#visit(node);
  }

  #forgetTag({ target, digest }: Node, tag: Tag): void {
    this.#tags.push(tag);
    this.#remove('tags', `${formatTarget(target)} ${tag}`);
    this.#remove('names', `${unitOf(target, digest)} ${tag}`);
    const subject = attachedSubject(tag);
    if (subject) this.#remove('searched', unitOf(target, subject));
  }

  /** A list without a tag that is evicted would hide it. */
  async #forgetList(target: Target): Promise<void> {
    if (this.#tags.length === 0) return;
    const listed = await this.#graph.findTagList(target);
    if (!listed || this.#tags.every((tag) => listed.includes(tag))) return;
    this.#remove('lists', formatTarget(target));
    this.#remove('listed', formatTarget(target));
  }

  #removeHolder(node: Node, holder: Digest): void {
    const key = holderKey(node, holder);
    this.#removed.add(key);
    this.#loosened.set(unitOf(node.target, node.digest), node);
    this.#remove('holders', key);
  }

  async #forgetUnit(unit: string): Promise<void> {
    this.#forgetPulls(unit, await this.#graph.lastPull(unit));
  }

  #forgetPulls(unit: string, time: number | undefined): void {
    if (time === undefined) return;
    this.#remove('access', unit);
    this.#remove('pulls', unit);
    this.#remove('recency', recencyKey(time, unit));
  }

  async #freeUnlessHeld(digest: Digest): Promise<void> {
    for await (const { target, digest: holder } of this.#graph.holders(digest)) {
      if (!this.#removed.has(holderKey({ target, digest }, holder))) return;
    }
    this.#free.add(digest);
    this.#remove('members', digest);
    this.#remove('scans', digest);
    for await (const link of keysBelow(this.#graph.tables.links, digest)) {
      this.#links.add(link);
      this.#remove('links', link);
    }
  }

  /** The blobs that nothing holds any more, as far as they are on record. */
  async #forgetBlobs(): Promise<{ digest: Digest; size: number }[]> {
    const { blobs, access } = this.#graph.tables;
    const free = [...this.#free];
    const records = await readMany(free, async (keys) => blobs.getMany(keys));
    const times = await readMany(free, async (keys) => access.getMany(keys));
    return free.flatMap((digest, place) => {
      const record = records[place];
      if (!record) return [];
      this.#remove('blobs', digest);
      this.#forgetPulls(digest, times[place]);
      return [{ digest, size: record.size }];
    });
  }

  /** A repository in which no manifest is or lists the digest any more has to prove anew that it has it. */
  async #forgetLinks(): Promise<void> {
    for (const [unit, node] of this.#loosened) {
      const isGone = this.#visited.has(unit);
      const isFree = this.#free.has(node.digest);
      if (!isFree && !isGone && (await this.#graph.isHeld(node))) continue;
      if (!isFree && (await this.#isListed(node))) continue;
      const link = `${node.digest} ${formatTarget(node.target)}`;
      this.#links.add(link);
      this.#remove('links', link);
      if (!isGone) this.#unlinked.push(node);
    }
  }

  async #isListed(node: Node): Promise<boolean> {
    for await (const holder of this.#graph.holdersIn(node.target, node.digest)) {
      if (!this.#removed.has(holderKey(node, holder))) return true;
    }
    return false;
  }

  #remove(table: Removal[0], key: string): void {
    this.#removals.push([table, key]);
  }
}

function holderKey({ target, digest }: Node, holder: Digest): string {
  return `${digest} ${formatTarget(target)} ${holder}`;
}

/** For the journal; `of` is the target of the unit. */
export function evictedEntries(
  { tags, manifests, unlinked }: Pick<Evicted, 'tags' | 'manifests' | 'unlinked'>,
  of: string,
): JournalEntry[] {
  return [
    ...tags.map((tag) => ({ untagged: tag, of })),
    ...manifests.map(({ digest }) => ({ gone: digest, of })),
    ...unlinked.map(({ target, digest }) => ({ gone: digest, of: formatTarget(target) })),
  ];
}
