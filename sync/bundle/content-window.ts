import type { Content, Reader } from '../../src/oci/content.ts';

/** A blob that is here whole. */
export interface WholeContent extends Content {
  readonly size: number;
}

const EMPTY = Buffer.alloc(0);

/** Reads short ranges of a blob that mostly follow one another, with one open file and one buffer. */
export class ContentWindow {
  /** The longest range that is read at once. */
  static readonly BYTES = 256 * 1024;

  readonly content: WholeContent;
  readonly #buffer = Buffer.allocUnsafe(ContentWindow.BYTES);
  /** Position of the buffer's first byte in the content, and how many bytes of it count. */
  #start = 0;
  #filled = 0;
  /** Stands behind the last byte of the buffer. */
  #reader: Reader | undefined;

  constructor(content: WholeContent) {
    this.content = content;
  }

  /**
   * Valid until the next call. Short only where the content ends. One call at a time; a range is at most
   * `BYTES` long.
   */
  async read(start: number, end: number): Promise<Buffer> {
    const isInside = start >= this.#start && start <= this.#start + this.#filled;
    if (!isInside || !this.#reader) await this.#moveTo(start);
    if (end > this.#start + this.#filled) await this.#fillFrom(start, end);
    return this.#buffer.subarray(start - this.#start, Math.min(end - this.#start, this.#filled));
  }

  /** Any range, in pieces that are valid until the next one is asked for. */
  async *pieces(start: number, end: number): AsyncGenerator<Buffer> {
    for (let at = start; at < end;) {
      const piece = await this.read(at, Math.min(at + ContentWindow.BYTES, end));
      if (piece.length === 0) return;
      yield piece;
      at += piece.length;
    }
  }

  async close(): Promise<void> {
    await this.#reader?.close();
    this.#reader = undefined;
    this.#filled = 0;
  }

  async #moveTo(start: number): Promise<void> {
    await this.close();
    this.#start = start;
    this.#reader = await this.content.open({ start, end: this.content.size });
  }

  /** Lets go of what stands before `start`, and reads on until all up to `end` is there. */
  async #fillFrom(start: number, end: number): Promise<void> {
    this.#buffer.copyWithin(0, start - this.#start, this.#filled);
    this.#filled -= start - this.#start;
    this.#start = start;
    while (this.#start + this.#filled < end) {
      const bytes = (await this.#reader?.read(this.#buffer.subarray(this.#filled))) ?? EMPTY;
      if (bytes.length === 0) return;
      bytes.copy(this.#buffer, this.#filled);
      this.#filled += bytes.length;
    }
  }
}
