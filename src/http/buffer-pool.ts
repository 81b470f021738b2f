const MIN_BUFFER_BYTES = 64 * 1024;
const MAX_BUFFER_BYTES = 1024 * 1024;
/** All responses together aim at this much; small buffers for many clients, large for few. */
const TARGET_BYTES = 16 * 1024 * 1024;
const MAX_SPARE = 16;

export type BufferPair = readonly [Buffer, Buffer];

/**
 * Pairs of buffers for double-buffered sending. Large ones are kept for the next response: fresh
 * memory of this size costs more in page faults than the copy into it.
 */
export class BufferPool {
  readonly #spare: BufferPair[] = [];
  #taken = 0;

  /** A pair for content of this many bytes. */
  take(size: number): BufferPair {
    const share = TARGET_BYTES / (2 * (this.#taken + 1));
    const wanted = Math.min(MAX_BUFFER_BYTES, Math.max(MIN_BUFFER_BYTES, Math.min(share, size)));
    if (wanted === MAX_BUFFER_BYTES) {
      const spare = this.#spare.pop();
      if (spare) return this.#lend(spare);
    }
    const length = 2 ** Math.floor(Math.log2(wanted));
    return this.#lend([Buffer.allocUnsafeSlow(length), Buffer.allocUnsafeSlow(length)]);
  }

  /** `isIdle` says that neither a read nor a write may still touch the pair. */
  give(pair: BufferPair, isIdle: boolean): void {
    this.#taken -= 1;
    const keep = isIdle && pair[0].length === MAX_BUFFER_BYTES && this.#spare.length < MAX_SPARE;
    if (keep) this.#spare.push(pair);
  }

  #lend(pair: BufferPair): BufferPair {
    this.#taken += 1;
    return pair;
  }
}
