import type { ByteRange, Reader } from '../../oci/content.ts';
import { Digester, splitDigest, type Digest } from '../../oci/digest.ts';
import { IntegrityError } from '../../oci/integrity-error.ts';
import { INTERACTIVE } from '../../upstream/demand.ts';
import type { CreateTransfer } from './download.ts';

export interface DirectReaderParts {
  readonly digest: Digest;
  readonly createTransfer: CreateTransfer;
  readonly range: ByteRange;
  /** What was already received and hashed elsewhere; the transfer starts behind it. */
  readonly written?: { readonly size: number; readonly digester: Digester } | undefined;
}

const EMPTY = Buffer.alloc(0);

/**
 * Streams a blob to one client without keeping it, for when the disk cannot. One chunk stays back
 * until the next one is here, and the last one until size and digest are verified.
 */
export class DirectReader implements Reader {
  readonly #parts: DirectReaderParts;
  readonly #abort = new AbortController();
  readonly #pieces: AsyncGenerator<Buffer>;
  /** Of the next piece's first byte. */
  #position: number;

  constructor(parts: DirectReaderParts) {
    this.#parts = parts;
    this.#position = parts.written?.size ?? 0;
    this.#pieces = this.#receive();
  }

  async read(): Promise<Buffer> {
    const { start, end } = this.#parts.range;
    while (this.#position < end) {
      const next = await this.#pieces.next();
      if (next.done === true) break;
      const piece = next.value;
      const wanted = piece.subarray(Math.max(0, start - this.#position), end - this.#position);
      this.#position += piece.length;
      if (wanted.length > 0) return wanted;
    }
    return EMPTY;
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#pieces.return(undefined);
  }

  async *#receive(): AsyncGenerator<Buffer> {
    const { digest, createTransfer, written } = this.#parts;
    const digester = written?.digester ?? new Digester(splitDigest(digest).algorithm);
    const transfer = createTransfer({ ...INTERACTIVE, signal: this.#abort.signal });
    if (!(await transfer.start(written?.size ?? 0))) {
      throw new Error(`${digest} vanished from its upstream`);
    }
    let held: Buffer | undefined;
    for await (const chunk of transfer.chunks()) {
      digester.update(chunk);
      if (held) yield held;
      held = chunk;
    }
    const actual = digester.value();
    if (actual !== digest) throw new IntegrityError(digest, { expected: digest, actual });
    if (held) yield held;
  }
}
