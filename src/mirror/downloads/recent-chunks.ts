/** A reader that falls further behind reads the file. */
const MAX_BYTES = 1024 * 1024;

/**
 * The last chunks that were appended to a growing file: its readers share one piece of memory where
 * each would read the file.
 */
export class RecentChunks {
  readonly #chunks: { readonly start: number; readonly bytes: Buffer }[] = [];
  #size = 0;

  /** `end` is the position behind the chunk's last byte. */
  add(bytes: Buffer, end: number): void {
    this.#chunks.push({ start: end - bytes.length, bytes });
    this.#size += bytes.length;
    while (this.#size > MAX_BYTES && this.#chunks.length > 1) {
      this.#size -= this.#chunks.shift()?.bytes.length ?? 0;
    }
  }

  /** Gives the memory back; its readers read the file. */
  clear(): void {
    this.#chunks.length = 0;
    this.#size = 0;
  }

  /** From this position to the end of the chunk that holds it. */
  find(position: number): Buffer | undefined {
    const chunk = this.#chunks.findLast(({ start }) => start <= position);
    const bytes = chunk?.bytes.subarray(position - chunk.start);
    return bytes && bytes.length > 0 ? bytes : undefined;
  }
}
