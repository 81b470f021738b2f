const BLOCK_BYTES = 256 * 1024;
/** Kept for the next transfer; what is given back beyond is left to the garbage collector. */
const SPARE_BYTES = 16 * 1024 * 1024;

/**
 * Memory for the bodies of blobs. New memory costs a collection of the whole heap with every few dozen
 * MiB, so that whoever knows that nobody reads a block any more gives it back; one that is never given
 * back is garbage like any other.
 */
class Blocks {
  readonly #spare: Buffer[] = [];
  readonly #taken = new WeakSet<ArrayBufferLike>();

  take(): Buffer {
    const block = this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#taken.add(block.buffer);
    return block;
  }

  /** Any part of a block; what is none, or is back already, is left alone. */
  give({ buffer }: Uint8Array): void {
    if (!this.#taken.delete(buffer)) return;
    if (this.#spare.length < SPARE_BYTES / BLOCK_BYTES) this.#spare.push(Buffer.from(buffer));
  }
}

export const BLOCKS = new Blocks();

/**
 * Bytes as they came, until they are taken: what comes meanwhile is put together, and nobody waits for
 * more of it. What is taken fills at least half of the block that it is in.
 */
export class Gathering {
  readonly #full: Buffer[] = [];
  #block: Buffer | undefined;
  #filled = 0;

  /** Copies them. */
  add(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length;) {
      this.#block ??= BLOCKS.take();
      const part = bytes.subarray(offset, offset + this.#block.length - this.#filled);
      this.#block.set(part, this.#filled);
      offset += part.length;
      this.#filled += part.length;
      if (this.#filled === this.#block.length) this.#full.push(this.#release(this.#block));
    }
  }

  /** What came first, one block at most; `undefined` when nothing is here. */
  take(): Buffer | undefined {
    const full = this.#full.shift();
    if (full || !this.#block) return full;
    const [block, bytes] = [this.#block, this.#block.subarray(0, this.#filled)];
    this.#release(block);
    if (bytes.length >= block.length / 2) return bytes;
    const few = Buffer.from(bytes);
    BLOCKS.give(block);
    return few;
  }

  #release(block: Buffer): Buffer {
    this.#block = undefined;
    this.#filled = 0;
    return block;
  }
}
