import type { Timer } from '../schedule.ts';
import { BundleError } from './bundle-error.ts';
import { TEXTS } from './texts.ts';

export interface PaceParts {
  readonly timer: Pick<Timer, 'steady' | 'wait'>;
  /** Whether somebody waits for the end of it. */
  readonly isHindering: () => boolean;
}

/** 0.8 MB/s: the slowest disks, and lines of 10 Mbit/s, bring more. */
const STRETCH = { bytes: 8 * 2 ** 20, ms: 10_000 } as const;
const LOOK_MS = 1_000;

/**
 * The same chunks. While somebody waits for its end, a source that has let us wait for 10 seconds within
 * 8 MiB is given up with a `BundleError` with code `part`, up to a second later; as long as nobody does,
 * it may be as slow as it likes. What the reader does with the chunks does not count.
 */
export class PacedSource implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterable<Uint8Array>;
  readonly #parts: PaceParts;
  #stretch = { bytes: 0, waitedMs: 0 };
  /** The chunk that we wait for. */
  #asking: { readonly since: number; readonly giveUp: (error: Error) => void } | undefined;

  constructor(source: AsyncIterable<Uint8Array>, parts: PaceParts) {
    this.#source = source;
    this.#parts = parts;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    const chunks = this.#source[Symbol.asyncIterator]();
    const ended = new AbortController();
    void this.#watch(ended.signal).catch(() => undefined);
    try {
      for (;;) {
        const { done, value } = await this.#next(chunks);
        if (done) return;
        yield value;
      }
    } finally {
      ended.abort();
      // While a chunk is asked for that never comes, this would not end either.
      if (!this.#asking) await chunks.return?.();
    }
  }

  /** One promise for each chunk: one that lived as long as the source would remember them all. */
  async #next(chunks: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    const { timer } = this.#parts;
    const result = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
      this.#asking = { since: timer.steady(), giveUp: reject };
      chunks.next().then(resolve, reject);
    });
    const { since = timer.steady() } = this.#asking ?? {};
    this.#asking = undefined;
    const bytes = this.#stretch.bytes + (result.done ? 0 : result.value.length);
    const waitedMs = this.#stretch.waitedMs + timer.steady() - since;
    this.#stretch = bytes < STRETCH.bytes ? { bytes, waitedMs } : { bytes: 0, waitedMs: 0 };
    return result;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { timer, isHindering } = this.#parts;
    for (;;) {
      await timer.wait(LOOK_MS, signal);
      if (!isHindering()) {
        this.#stretch = { bytes: 0, waitedMs: 0 };
        if (this.#asking) this.#asking = { ...this.#asking, since: timer.steady() };
        continue;
      }
      const { since = Infinity, giveUp } = this.#asking ?? {};
      const waitedMs = this.#stretch.waitedMs + timer.steady() - since;
      if (waitedMs >= STRETCH.ms) giveUp?.(new BundleError('part', TEXTS.tooSlow));
    }
  }
}
