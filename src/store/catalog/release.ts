import type { Digest } from '../../oci/digest.ts';
import { formatTarget, type Tag } from '../../oci/reference.ts';
import { nodeOf, unitOf, type ImageGraph, type Node } from './image-graph.ts';
import { keysBelow } from './keys-below.ts';
import { recencyKey, type Batch, type Tables } from './tables.ts';

/** What goes with a unit. */
export interface Released {
  readonly tags: readonly Tag[];
  readonly manifests: readonly Node[];
  /** Repositories that are to prove anew that they have a digest, besides those of `manifests`. */
  readonly unlinked: readonly Node[];
  /** Held by nothing any more: their files may be removed. */
  readonly blobs: readonly { readonly digest: Digest; readonly size: number }[];
  readonly bytes: number;
  /** Part of it until now, and images of their own from now on: a tag of their own holds them. */
  readonly left: readonly Node[];
  /** Places, `digest target`, where a repository may have it no more. */
  readonly places: readonly string[];
}

type TableName = 'tags' | 'names' | 'manifests' | 'members' | 'blobs' | 'links' | 'holders';
type Removal = readonly [TableName | 'referrers' | 'access' | 'recency', string];

/**
 * Works out what letting go of one unit removes: the manifest with all that it alone holds, in
 * its repository, and the blobs that then no repository holds. Nothing is written; `gone` carries
 * edges that count as removed from one planned release to the next.
 */
export class Release {
  readonly #tables: Tables;
  readonly #graph: ImageGraph;
  readonly #gone: Set<string>;
  readonly #removals: Removal[] = [];
  readonly #tags: Tag[] = [];
  readonly #unlinked: Node[] = [];
  readonly #places = new Set<string>();
  readonly #visited = new Map<string, Node>();
  readonly #left = new Map<string, Node>();
  /** Digests that lost a holder, with the repository where. */
  readonly #loosened = new Map<string, Node>();
  /** Digests that nothing holds any more. */
  readonly #free = new Set<Digest>();

  constructor(parts: { tables: Tables; graph: ImageGraph; gone?: Set<string> }) {
    this.#tables = parts.tables;
    this.#graph = parts.graph;
    this.#gone = parts.gone ?? new Set();
  }

  /** Once. */
  async plan(unit: string): Promise<Released> {
    const node = nodeOf(unit);
    if (node) await this.#visit(node);
    const digests = node
      ? new Set([...this.#loosened.values()].map(({ digest }) => digest))
      : new Set([unit as Digest]);
    await this.#forgetUnit(unit);
    const blobs: { digest: Digest; size: number }[] = [];
    for (const digest of digests) {
      const blob = await this.#letGo(digest);
      if (blob) blobs.push(blob);
    }
    await this.#forgetLinks();
    const manifests = [...this.#visited.values()];
    const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
    const left = [...this.#left].filter(([each]) => !this.#visited.has(each)).map(([, of]) => of);
    const places = [...this.#places];
    return { tags: this.#tags, manifests, unlinked: this.#unlinked, blobs, bytes, left, places };
  }

  /** Adds the removals to a batch. */
  apply(batch: Batch): void {
    for (const [table, key] of this.#removals) {
      batch.del(key, { sublevel: this.#tables[table] });
    }
  }

  async #visit(node: Node): Promise<void> {
    const { target, digest } = node;
    const unit = unitOf(target, digest);
    if (this.#visited.has(unit) || !(await this.#graph.isHeld(node))) return;
    this.#visited.set(unit, node);
    this.#remove('manifests', unit);
    this.#removeHolder(node, digest);
    await this.#forgetUnit(unit);
    for (const tag of await this.#graph.tagsOf(node)) {
      this.#tags.push(tag);
      this.#remove('tags', `${formatTarget(target)} ${tag}`);
      this.#remove('names', `${unit} ${tag}`);
    }
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

  /** A manifest goes with what held it unless something else holds it or a tag of its own does. */
  async #visitUnlessHeld(node: Node, subject?: Digest): Promise<void> {
    if (await this.#isListed(node)) return;
    for (const tag of await this.#graph.tagsOf(node)) {
      if (subject && tag.startsWith(subject.replace(':', '-'))) continue;
      this.#left.set(unitOf(node.target, node.digest), node);
      return;
    }
    await this.#visit(node);
  }

  #removeHolder(node: Node, holder: Digest): void {
    const key = holderKey(node, holder);
    this.#gone.add(key);
    this.#loosened.set(unitOf(node.target, node.digest), node);
    this.#remove('holders', key);
  }

  async #forgetUnit(unit: string): Promise<void> {
    const time = await this.#graph.lastPull(unit);
    if (time === undefined) return;
    this.#remove('access', unit);
    this.#remove('recency', recencyKey(time, unit));
  }

  /** The blob, when nothing holds it any more. */
  async #letGo(digest: Digest): Promise<{ digest: Digest; size: number } | undefined> {
    for await (const { target, digest: holder } of this.#graph.holders(digest)) {
      if (!this.#gone.has(holderKey({ target, digest }, holder))) return undefined;
    }
    this.#free.add(digest);
    this.#remove('members', digest);
    for await (const place of keysBelow(this.#tables.links, digest)) {
      this.#places.add(place);
      this.#remove('links', place);
    }
    const record = await this.#tables.blobs.get(digest);
    if (!record) return undefined;
    this.#remove('blobs', digest);
    await this.#forgetUnit(digest);
    return { digest, size: record.size };
  }

  /** A repository that neither is nor lists a digest any more is to prove anew that it has it. */
  async #forgetLinks(): Promise<void> {
    for (const [unit, node] of this.#loosened) {
      const isGone = this.#visited.has(unit);
      const isFree = this.#free.has(node.digest);
      if (!isFree && !isGone && (await this.#graph.isHeld(node))) continue;
      if (!isFree && (await this.#isListed(node))) continue;
      const place = `${node.digest} ${formatTarget(node.target)}`;
      this.#places.add(place);
      this.#remove('links', place);
      if (!isGone) this.#unlinked.push(node);
    }
  }

  async #isListed(node: Node): Promise<boolean> {
    for await (const holder of this.#graph.holdersIn(node.target, node.digest)) {
      if (!this.#gone.has(holderKey(node, holder))) return true;
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
