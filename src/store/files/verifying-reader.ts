import type { ByteRange, Reader } from '../../oci/content.ts';
import { type Digest, Digester, IntegrityError, splitDigest } from '../../oci/digest.ts';

export interface VerifyingReaderParts {
  readonly digest: Digest;
  /** From the first byte to the last. */
  readonly reader: Reader;
  /** What of it is handed on. */
  readonly range: ByteRange;
  /** Called once, before the last byte is handed on or refused. */
  readonly judged: (isRight: boolean) => Promise<void>;
}

const EMPTY = Buffer.alloc(0);

/**
 * Reads all of a blob, hands on a range of it, and holds the last byte of that back until the whole
 * was found right: no reader of a damaged file ever has all it asked for.
 */
export class VerifyingReader implements Reader {
  readonly #parts: VerifyingReaderParts;
  readonly #digester: Digester;
  #position = 0;
  #last: Buffer | undefined;
  #isJudged = false;

  constructor(parts: VerifyingReaderParts) {
    this.#parts = parts;
    this.#digester = new Digester(splitDigest(parts.digest).algorithm);
  }

  async read(scratch: Buffer): Promise<Buffer> {
    const { start, end } = this.#parts.range;
    while (!this.#isJudged) {
      const bytes = await this.#readOn(scratch);
      if (bytes.length === 0) break;
      const from = this.#position - bytes.length;
      const wanted = bytes.subarray(Math.max(0, start - from), Math.max(0, end - from));
      if (wanted.length === 0) continue;
      if (this.#position < end) return wanted;
      this.#last = Buffer.from(wanted.subarray(-1));
      if (wanted.length > 1) return wanted.subarray(0, -1);
    }
    await this.#judge();
    const last = this.#last ?? EMPTY;
    this.#last = undefined;
    return last;
  }

  async close(): Promise<void> {
    await this.#parts.reader.close();
  }

  async #readOn(scratch: Buffer): Promise<Buffer> {
    try {
      const bytes = await this.#parts.reader.read(scratch);
      this.#digester.update(bytes);
      this.#position += bytes.length;
      return bytes;
    } catch (error) {
      if (error instanceof IntegrityError) await this.#parts.judged(false);
      throw error;
    }
  }

  async #judge(): Promise<void> {
    if (this.#isJudged) return;
    this.#isJudged = true;
    const { digest, judged } = this.#parts;
    const actual = this.#digester.value();
    await judged(actual === digest);
    if (actual === digest) return;
    this.#last = undefined;
    throw new IntegrityError(digest, { expected: digest, actual });
  }
}
