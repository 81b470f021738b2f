import PQueue from 'p-queue';

/** What is longer is weighed: most documents are far shorter, and wait for nothing. */
export const SMALL_BYTES = 64 * 1024;
/** Each takes 4 MiB at most, twice while its pieces are put together. */
const PLACES = 4;
/** By then it is kept or sent, or nobody knows of it any more. */
const LONGEST_MS = 60_000;

/**
 * The places for large documents in memory, such as manifests and pages of lists of 4 MiB, from the
 * first byte beyond 64 KiB until they are kept or read: four at a time, whoever asks for more. One that
 * nobody gives back is free again after a minute.
 */
export class LargeDocuments {
  readonly #places = new PQueue({ concurrency: PLACES });

  /** Resolves with what gives the place back, in the order of asking. */
  async enter(): Promise<() => void> {
    const entered = Promise.withResolvers<() => void>();
    void this.#places.add(async () => {
      const left = Promise.withResolvers<void>();
      const timer = setTimeout(left.resolve, LONGEST_MS).unref();
      entered.resolve(left.resolve);
      await left.promise.finally(() => clearTimeout(timer));
    });
    return entered.promise;
  }
}
