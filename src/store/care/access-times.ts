import type { Digest } from '../../oci/digest.ts';
import type { Target } from '../../oci/reference.ts';
import { nodeOf, unitOf, type Catalog, type Node, type PullTally } from '../catalog/catalog.ts';

/** A pull of a blob that more manifests of a repository list counts for none of them. */
const MAX_HOLDERS = 32;
/** Keeps each write short, so that others come between. */
const UNITS_A_WRITE = 200;

/**
 * When images were last pulled, and how often. A pull is noted in memory and written with many others;
 * its time counts for the image that the pulled thing is a part of. Of several that share it, it counts
 * for the one whose manifest was pulled last: clients fetch the manifest first. The number is that of
 * the fetches of each manifest itself: one that has all of an image fetches its manifest once.
 */
export class AccessTimes {
  readonly #catalog: Catalog;
  readonly #now: () => number;
  #noted = new Map<string, PullTally>();
  /** On their way into the catalog. */
  #writing: ReadonlyMap<string, PullTally> = new Map();
  #flushing: Promise<void> = Promise.resolve();

  constructor(parts: { catalog: Catalog; now: () => number }) {
    this.#catalog = parts.catalog;
    this.#now = parts.now;
  }

  /** `fetches`: 1 where a client fetched this manifest, and did not only ask for it or for a blob. */
  note(target: Target, digest: Digest, fetches: 0 | 1 = 0): void {
    const unit = unitOf(target, digest);
    const count = (this.#noted.get(unit)?.count ?? 0) + fetches;
    // The map is in the order of the last pulls, in which they are written.
    this.#noted.delete(unit);
    this.#noted.set(unit, { at: this.#catalog.pullMoment(this.#now()), count });
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
      let pulls = new Map<string, PullTally>();
      for (const [unit, { at, count }] of noted) {
        for (const each of await this.#unitsOf(nodeOf(unit)!, pulls)) {
          const known = pulls.get(each) ?? { at: 0, count: 0 };
          const own = each === unit ? count : 0;
          pulls.set(each, { at: Math.max(at, known.at), count: known.count + own });
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
  async #unitsOf(node: Node, pulls: ReadonlyMap<string, PullTally>): Promise<string[]> {
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
  async #imageOf(node: Node, pulls: ReadonlyMap<string, PullTally>): Promise<string[]> {
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
    pulls: ReadonlyMap<string, PullTally>,
  ): Promise<Digest | undefined> {
    if (digests.length < 2) return digests[0];
    const units = digests.map((digest) => unitOf(target, digest));
    const known = await this.#catalog.lastPulls(units);
    const times = units.map((unit, place) => Math.max(pulls.get(unit)?.at ?? 0, known[place] ?? 0));
    return digests[times.indexOf(Math.max(...times))];
  }
}
