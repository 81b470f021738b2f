import PQueue from 'p-queue';
import type { Digest } from '../../oci/digest.ts';
import type { StoredBlob } from './stored-blob.ts';

/** More wait for the next request of a part of theirs. */
const MAX_WAITING = 1_000;

/** Files of which a part was served unverified: all of each is read, one after the other. */
export class Examinations {
  readonly #queue = new PQueue({ concurrency: 1 });
  readonly #waiting = new Set<Digest>();
  readonly #stop = new AbortController();

  add(blob: StoredBlob): void {
    const { digest } = blob;
    const { signal } = this.#stop;
    if (signal.aborted || this.#waiting.has(digest) || this.#waiting.size >= MAX_WAITING) return;
    this.#waiting.add(digest);
    void this.#queue
      .add(async () => blob.verify(() => signal.throwIfAborted()))
      // Who asks for it next finds out what is wrong with it.
      .catch(() => undefined)
      .finally(() => this.#waiting.delete(digest));
  }

  /** Ends with the piece that is being read. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#queue.onIdle();
  }
}
