import { imageKey, type Facts } from './facts.ts';

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
    for (const [key, { kind, repository, image, digest, at }] of this.#held) {
      const target = `${this.#upstream}/${repository}`;
      const hasLeft =
        facts.mayHaveLeft(digest, at) || facts.mayHaveLeft(imageKey(target, image), at);
      if (hasLeft || (kind === 'blobs' && !facts.isKept(digest))) this.#held.delete(key);
    }
  }

  list(): readonly Held[] {
    return [...this.#held.values()];
  }
}
