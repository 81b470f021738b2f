import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { Catalog } from './catalog.ts';
import { nodeOf, unitOf, type Node } from './image-graph.ts';

/** A blob that more manifests of a repository list says nothing about any one of them. */
const MAX_HOLDERS = 32;

/**
 * When images were last pulled. A pull is noted in memory and written with many others; it counts
 * for the image that the pulled thing is a part of. Of several that share it, it counts for the one
 * whose manifest was pulled last: clients fetch the manifest first.
 */
export class AccessTimes {
  readonly #catalog: Catalog;
  readonly #now: () => number;
  #noted = new Map<string, number>();
  /** On their way into the catalog. */
  #writing: ReadonlyMap<string, number> = new Map();
  #flushing: Promise<void> = Promise.resolve();

  constructor(parts: { catalog: Catalog; now: () => number }) {
    this.#catalog = parts.catalog;
    this.#now = parts.now;
  }

  note(target: Target, digest: Digest): void {
    const unit = unitOf(target, digest);
    // In the order of the last pull, in which they are written.
    this.#noted.delete(unit);
    this.#noted.set(unit, this.#now());
  }

  /** Whether one of these was pulled, and the catalog does not know of it yet. */
  isNoted(target: Target, digests: readonly Digest[]): boolean {
    const units = digests.map((digest) => unitOf(target, digest));
    return units.some((unit) => this.#noted.has(unit) || this.#writing.has(unit));
  }

  /** Writes what was noted so far. Rejects when the catalog cannot; then it is lost. */
  async flush(): Promise<void> {
    this.#flushing = this.#flushing.catch(() => undefined).then(async () => this.#write());
    return this.#flushing;
  }

  async #write(): Promise<void> {
    const noted = this.#noted;
    this.#noted = new Map();
    this.#writing = noted;
    try {
      for (const [unit, time] of noted) {
        const node = nodeOf(unit);
        if (node) await this.#spread(node, time);
      }
    } finally {
      this.#writing = new Map();
    }
  }

  async #spread(node: Node, time: number): Promise<void> {
    const { graph } = this.#catalog;
    if (await graph.isHeld(node)) return this.#raise(node, time);
    const holders: Digest[] = [];
    for await (const holder of graph.holdersIn(node.target, node.digest)) {
      if (holders.push(holder) > MAX_HOLDERS) return;
    }
    const holder = await this.#lastPulled(node.target, holders);
    if (holder) return this.#raise({ target: node.target, digest: holder }, time);
    if ((await graph.lastPull(node.digest)) !== undefined) {
      await this.#catalog.recordAccess([node.digest], time);
    }
  }

  /** A manifest and what it is a part of. */
  async #raise(node: Node, time: number): Promise<void> {
    const { graph } = this.#catalog;
    const raised = new Set([node.digest]);
    for (const digest of raised) {
      const above = { target: node.target, digest };
      const parents = await graph.parents(above, MAX_HOLDERS);
      const parent = await this.#lastPulled(node.target, parents);
      if (parent) raised.add(parent);
      for (const subject of await graph.attachedTo(above)) raised.add(subject);
    }
    await this.#catalog.recordAccess(
      [...raised].map((digest) => unitOf(node.target, digest)),
      time,
    );
  }

  async #lastPulled(target: Target, digests: readonly Digest[]): Promise<Digest | undefined> {
    if (digests.length < 2) return digests[0];
    const times = await this.#catalog.graph.lastPulls(
      digests.map((digest) => unitOf(target, digest)),
    );
    const latest = Math.max(...times);
    return digests[times.indexOf(latest)];
  }
}
