import { BundleError } from './bundle-error.ts';
import { TEXTS } from './texts.ts';

const NONE = Buffer.alloc(0);

/** Takes bytes off a stream in the pieces that a reader wants; holds one chunk of it. */
export class ByteSource implements AsyncDisposable {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Buffer = NONE;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** The next bytes, at least one and `most` at most; `undefined` at the end. */
  async next(most: number): Promise<Buffer | undefined> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return undefined;
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.length);
    }
    const bytes = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(bytes.length);
    return bytes;
  }

  /** The next bytes, at least one. Throws a `BundleError` with code `truncated` at the end. */
  async some(most: number): Promise<Buffer> {
    const bytes = await this.next(most);
    if (bytes) return bytes;
    throw new BundleError('truncated', TEXTS.truncated);
  }

  /**
   * Exactly so many bytes, which are held once, however small the chunks are that bring them. Throws a
   * `BundleError` with code `truncated` where there are fewer.
   */
  async exactly(size: number): Promise<Buffer> {
    const first = size === 0 ? NONE : await this.some(size);
    if (first.length === size) return first;
    const bytes = Buffer.allocUnsafeSlow(size);
    for (let at = first.copy(bytes); at < size;) at += (await this.some(size - at)).copy(bytes, at);
    return bytes;
  }

  /** Ends the stream, wherever it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.();
  }
}
