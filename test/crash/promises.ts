import { imageKey, linkKey, type Facts } from './facts.ts';

/** A client was told that it is held. */
export interface Held {
  readonly kind: 'manifests' | 'blobs';
  readonly repository: string;
  /** The manifest that it is, or is listed in. */
  readonly image: string;
  readonly digest: string;
  /** When that was asked, milliseconds since 1970. */
  readonly at: number;
}

/** What the store owes: all that a client saw held, as long as it was not evicted since. */
export class Promises {
  readonly #upstream: string;
  readonly #held = new Map<string, Held>();

  constructor(upstream: string) {
    this.#upstream = upstream;
  }

  get size(): number {
    return this.#held.size;
  }

  add(held: Held): void {
    this.#held.set(`${held.kind} ${held.repository} ${held.digest}`, held);
  }

  /** Forgets what was let go of, or was a hit on a download that was not recorded yet. */
  settle(facts: Facts): void {
    for (const [key, held] of this.#held) {
      const { kind, digest } = held;
      const wasOnItsWay = kind === 'blobs' && !facts.isKept(digest);
      if (wasOnItsWay || this.#hasLeft(held, facts)) this.#held.delete(key);
    }
  }

  #hasLeft({ kind, repository, image, digest, at }: Held, facts: Facts): boolean {
    const target = `${this.#upstream}/${repository}`;
    const root = imageKey(target, image);
    if (kind === 'manifests') return facts.mayHaveLeft(root, at);
    if (facts.mayHaveLeft(digest, at)) return true;
    // That the repository has it goes with the last of its kept images that list it. The client's own
    // image is none of them when it was passed on unkept, or went before this blob was asked for.
    return facts.mayHaveLeft(linkKey(target, digest), at) && !facts.isKept(root);
  }

  list(): readonly Held[] {
    return [...this.#held.values()];
  }
}
