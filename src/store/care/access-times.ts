import type { Digest } from '../../oci/digest.ts';
import type { Target } from '../../oci/reference.ts';
import { nodeOf, unitOf, type Catalog, type Node } from '../catalog/catalog.ts';

/** A pull of a blob that more manifests of a repository list counts for none of them. */
const MAX_HOLDERS = 32;
/** Keeps each write short, so that others come between. */
const UNITS_A_WRITE = 200;

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
    // The map is in the order of the last pulls, in which they are written.
    this.#noted.delete(unit);
    this.#noted.set(unit, this.#catalog.pullMoment(this.#now()));
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
      let pulls = new Map<string, number>();
      for (const [unit, time] of noted) {
        for (const each of await this.#unitsOf(nodeOf(unit)!, pulls)) {
          pulls.set(each, Math.max(time, pulls.get(each) ?? 0));
        }
        if (pulls.size < UNITS_A_WRITE) continue;
        await this.#catalog.recordAccess(pulls);
        pulls = new Map();
      }
      await this.#catalog.recordAccess(pulls);
    } finally {
      this.#writing = new Map();
    }
  }

  /** The images that a pull counts for. `pulls`: the pulls that the catalog does not know of yet. */
  async #unitsOf(node: Node, pulls: ReadonlyMap<string, number>): Promise<string[]> {
    const catalog = this.#catalog;
    if (await catalog.isHeld(node)) return this.#imageOf(node, pulls);
    const holders: Digest[] = [];
    for await (const holder of catalog.holdersIn(node.target, node.digest)) {
      if (holders.push(holder) > MAX_HOLDERS) return [];
    }
    const holder = await this.#lastPulled(node.target, holders, pulls);
    if (holder) return this.#imageOf({ target: node.target, digest: holder }, pulls);
    return (await catalog.lastPull(node.digest)) === undefined ? [] : [node.digest];
  }

  /** A manifest and what it is a part of. */
  async #imageOf(node: Node, pulls: ReadonlyMap<string, number>): Promise<string[]> {
    const catalog = this.#catalog;
    const digests = new Set([node.digest]);
    for (const digest of digests) {
      const above = { target: node.target, digest };
      const parents = await catalog.parents(above, MAX_HOLDERS);
      const parent = await this.#lastPulled(node.target, parents, pulls);
      if (parent) digests.add(parent);
      for (const subject of await catalog.attachedTo(above)) digests.add(subject);
    }
    return [...digests].map((digest) => unitOf(node.target, digest));
  }

  async #lastPulled(
    target: Target,
    digests: readonly Digest[],
    pulls: ReadonlyMap<string, number>,
  ): Promise<Digest | undefined> {
    if (digests.length < 2) return digests[0];
    const units = digests.map((digest) => unitOf(target, digest));
    const known = await this.#catalog.lastPulls(units);
    const times = units.map((unit, place) => Math.max(pulls.get(unit) ?? 0, known[place] ?? 0));
    return digests[times.indexOf(Math.max(...times))];
  }
}
