import type { ByteRange, Reader } from '../../oci/content.ts';
import { Digester, IntegrityError, splitDigest } from '../../oci/digest.ts';
import type { Ingest } from '../../store/files/blob-store.ts';
import { demandOf } from '../../upstream/demand.ts';
import { TEXTS } from '../texts.ts';
import { Transfer } from './transfer.ts';
import type { TransferSource } from './transfer-source.ts';

export interface DirectReaderParts {
  readonly source: TransferSource;
  readonly range: ByteRange;
  /** What was already received and hashed elsewhere; the transfer starts behind it. */
  readonly written?: { readonly size: number; readonly digester: Digester } | undefined;
  /** Only the range is transferred, and what it is worth is for others to see. */
  readonly isUnverified?: boolean;
  readonly client?: string | undefined;
}

const EMPTY = Buffer.alloc(0);

/**
 * Streams a blob from its upstream to one client without keeping it, in its turn. The last chunk stays
 * back until size and digest are verified.
 */
export class DirectReader implements Reader {
  readonly #parts: DirectReaderParts;
  readonly #abort = new AbortController();
  readonly #pieces: AsyncGenerator<Buffer>;
  #transfer: Transfer | undefined;
  /** What is asked for already. */
  #next: Promise<IteratorResult<Buffer, void>> | undefined;
  /** Where the next piece begins in the blob. */
  #position: number;

  /** Behind what is written and hashed already, where that is in front of the range. */
  static async behind(
    ingest: Ingest | undefined,
    parts: DirectReaderParts,
    size = Infinity,
  ): Promise<DirectReader> {
    const { start, end } = parts.range;
    // A range that ends earlier would draw the rest of the blob for its digest.
    const isRest = start === ingest?.written && end >= size;
    if (!ingest || (parts.isUnverified && !isRest)) return new DirectReader(parts);
    const isBehind = ingest.written > 0 && ingest.written <= start;
    const written = isBehind
      ? { size: ingest.written, digester: await ingest.digester() }
      : undefined;
    return new DirectReader({ ...parts, written, isUnverified: false });
  }

  constructor(parts: DirectReaderParts) {
    this.#parts = parts;
    this.#position = parts.isUnverified ? parts.range.start : (parts.written?.size ?? 0);
    this.#pieces = parts.isUnverified ? this.#receive() : this.#verified();
  }

  get isClosed(): boolean {
    return this.#abort.signal.aborted;
  }

  async ready(): Promise<void> {
    if (this.#position >= this.#parts.range.end) return;
    this.#next ??= this.#pieces.next();
    await this.#next.catch(() => undefined);
  }

  async read(): Promise<Buffer> {
    const { start, end } = this.#parts.range;
    while (this.#position < end) {
      const next = await (this.#next ?? this.#pieces.next());
      this.#next = undefined;
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

  async *#verified(): AsyncGenerator<Buffer> {
    const { source, written } = this.#parts;
    const { digest } = source;
    const digester = written?.digester ?? new Digester(splitDigest(digest).algorithm);
    let held: Buffer | undefined;
    try {
      for await (const chunk of this.#receive()) {
        digester.update(chunk);
        if (held) yield held;
        held = chunk;
      }
      const actual = digester.value();
      if (actual !== digest) throw new IntegrityError(digest, { expected: digest, actual });
    } catch (error) {
      if (error instanceof IntegrityError) this.#transfer?.settle(false);
      throw error;
    }
    this.#transfer?.settle(true);
    if (held) yield held;
  }

  async *#receive(): AsyncGenerator<Buffer> {
    const { source, range, isUnverified, client } = this.#parts;
    const transfer = new Transfer({
      ...source,
      demand: { ...demandOf(client), signal: this.#abort.signal },
      end: isUnverified && Number.isFinite(range.end) ? range.end : undefined,
    });
    this.#transfer = transfer;
    try {
      if (!(await transfer.start(this.#position))) throw new Error(TEXTS.vanished(source));
      yield* transfer.chunks();
    } finally {
      transfer.discard();
    }
  }
}
