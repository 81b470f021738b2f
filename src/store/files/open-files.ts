import type { Digest } from '../../oci/digest.ts';

/** Counts the store's open file handles, so that leaks show and open files are not removed. */
export class OpenFiles {
  readonly #byDigest = new Map<Digest, number>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  isOpen(digest: Digest): boolean {
    return this.#byDigest.has(digest);
  }

  /** What is being read or written. */
  digests(): Digest[] {
    return [...this.#byDigest.keys()];
  }

  add(digest: Digest): void {
    this.#count += 1;
    this.#hold(digest);
  }

  remove(digest: Digest): void {
    this.#count -= 1;
    this.#letGo(digest);
  }

  /** A blob that counts as open without a handle, until the lease is disposed of. */
  lease(digest: Digest): Disposable {
    this.#hold(digest);
    return { [Symbol.dispose]: () => this.#letGo(digest) };
  }

  #hold(digest: Digest): void {
    this.#byDigest.set(digest, (this.#byDigest.get(digest) ?? 0) + 1);
  }

  #letGo(digest: Digest): void {
    const left = (this.#byDigest.get(digest) ?? 0) - 1;
    if (left > 0) this.#byDigest.set(digest, left);
    else this.#byDigest.delete(digest);
  }
}
