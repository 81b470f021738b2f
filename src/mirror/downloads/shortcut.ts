import type { ByteRange } from '../../oci/content.ts';
import { INTERACTIVE } from '../../upstream/demand.ts';
import type { CreateTransfer } from './download.ts';

export interface ShortcutParts {
  readonly createTransfer: CreateTransfer;
  readonly range: ByteRange;
  /** Called once, when the place is free for another reader. */
  readonly closed: () => void;
}

/**
 * Bytes of the middle of a blob straight from the upstream, for a reader far ahead of the running
 * download. The transfer's hash does not cover them: the reader compares them with the file once
 * that is verified, before it hands on the last byte.
 */
export class Shortcut {
  readonly #parts: ShortcutParts;
  readonly #abort = new AbortController();
  readonly #chunks: AsyncGenerator<Buffer>;
  #isClosed = false;

  constructor(parts: ShortcutParts) {
    this.#parts = parts;
    this.#chunks = this.#receive();
  }

  /** `undefined` at the end of the range. Rejects when the upstream cannot do it. */
  async read(): Promise<Buffer | undefined> {
    const next = await this.#chunks.next();
    return next.done === true ? undefined : next.value;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#abort.abort();
    this.#parts.closed();
    await this.#chunks.return(undefined);
  }

  async *#receive(): AsyncGenerator<Buffer> {
    const { createTransfer, range } = this.#parts;
    const transfer = createTransfer({ ...INTERACTIVE, signal: this.#abort.signal }, range.end);
    if (await transfer.start(range.start)) yield* transfer.chunks();
  }
}
