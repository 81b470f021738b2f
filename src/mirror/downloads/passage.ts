import type { ByteRange, Reader } from '../../oci/content.ts';
import { type Digester, IntegrityError } from '../../oci/digest.ts';
import { TEXTS } from '../texts.ts';
import type { SharedDemand } from './demand.ts';
import { DirectReader } from './direct-reader.ts';
import { GrowthSignal } from './growth-signal.ts';
import { DroppedError } from './turn.ts';
import type { Transfer } from './transfer.ts';
import type { TransferSource } from './transfer-source.ts';

export interface PassageParts {
  readonly source: TransferSource;
  readonly transfer: Pick<Transfer, 'size' | 'rest' | 'discard' | 'settle'>;
  /** Of the transfer, which need not have begun. */
  readonly chunks: AsyncGenerator<Buffer, undefined>;
  readonly demand: SharedDemand;
  /** Where the first chunk begins, and the hash of all that is in front of it. */
  readonly position: number;
  readonly digester: Digester;
  /** A chunk that was received and could not be written. */
  readonly unwritten?: Buffer | undefined;
  /** All that hold bytes now, of all upstreams. */
  readonly passages: Set<Passage>;
  /** How long one reader may hold up the others, and the first one be waited for; milliseconds. */
  readonly patienceMs: number;
}

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly bytes: Buffer;
  /** The hash of all that is in front of it. */
  readonly before: Digester;
}

/** Bytes of one blob that stay in memory; a client that asks before so many were passed on joins. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/**
 * Of all together: half of it is a window for each of the eight places that one upstream has by
 * default. Each may hold an eighth of what others leave free, and two chunks in any case, so that it is never used up by those that stopped.
 */
const ALL_WINDOWS_BYTES = 64 * 1024 * 1024;
const FREE_SHARE = 1 / 8;
const EMPTY = Buffer.alloc(0);

/**
 * A blob that is passed on without being kept: one transfer feeds all its readers through a window of
 * memory, at the pace of the slowest one that is in it. A reader that keeps others waiting falls out
 * and goes on by a request of its own. It goes on for as long as somebody wants it.
 */
export class Passage {
  readonly #parts: PassageParts;
  readonly #pieces: Piece[] = [];
  readonly #readers = new Set<PassageReader>();
  readonly #digester: Digester;
  #bytes = 0;
  #position: number;
  #hasMovedOn = false;
  #hasEnded = false;
  #state: 'passing' | 'verified' | 'failed' = 'passing';
  #failure: Error | undefined;
  readonly #growth = new GrowthSignal();
  /** For the pump, which may have something to do. */
  readonly #change = new GrowthSignal();

  constructor(parts: PassageParts) {
    this.#parts = parts;
    this.#position = parts.position;
    this.#digester = parts.digester;
    parts.passages.add(this);
    parts.demand.watch(() => this.#wake());
  }

  /** Held in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What it may hold now. */
  get #limit(): number {
    let free = ALL_WINDOWS_BYTES;
    for (const other of this.#parts.passages) if (other !== this) free -= other.bytes;
    return Math.min(WINDOW_BYTES, free * FREE_SHARE);
  }

  get source(): TransferSource {
    return this.#parts.source;
  }

  /** Whether a reader may still begin there. */
  reaches(position: number): boolean {
    const [first] = this.#pieces;
    const start = first?.start ?? this.#position;
    return this.#state !== 'failed' && position >= start && position <= this.#position;
  }

  /** Whether it has the byte. */
  has(position: number): boolean {
    return this.reaches(position) && position < this.#position;
  }

  /** Up to here; the last byte stays back until all bytes are verified. */
  get readable(): number {
    if (this.#state === 'verified') return this.#position;
    const { size = this.#position } = this.#parts.transfer;
    return Math.max(0, Math.min(this.#position, size - 1));
  }

  get isVerified(): boolean {
    return this.#state === 'verified';
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** `undefined` when the window has moved on, or is not there yet. */
  open(range: ByteRange, client: string | undefined): Reader | undefined {
    if (!this.reaches(range.start)) return undefined;
    const reader = new PassageReader(this, range, client);
    this.#readers.add(reader);
    this.#wake();
    return reader;
  }

  /** A reader has come from one position to another. */
  moved(from: number, to: number): void {
    const end = this.#pieces[0]?.end ?? Infinity;
    if (from < end && to >= end) this.#wake();
  }

  leave(reader: PassageReader): void {
    this.#readers.delete(reader);
    this.#wake();
  }

  /** Settles with the next byte or the end. */
  get growth(): Promise<void> {
    return this.#growth.next;
  }

  #wake(): void {
    this.#change.wake();
    const isRead = this.#readers.size > 0 || !this.#parts.demand.isAbandoned;
    if (this.#hasEnded && !isRead) this.#forget();
  }

  /** Its transfer is over, and nobody will read what it holds. */
  #forget(): void {
    this.#pieces.length = 0;
    this.#bytes = 0;
    this.#parts.passages.delete(this);
  }

  /** The bytes from this position to the end of the piece that holds it. */
  find(position: number): Buffer | undefined {
    const piece = this.#pieces.findLast(({ start }) => start <= position);
    return piece?.bytes.subarray(position - piece.start, this.readable - piece.start);
  }

  /** To its end. Never rejects. */
  async run(): Promise<void> {
    const { chunks, transfer, demand, unwritten } = this.#parts;
    const wake = (): void => this.#wake();
    demand.signal.addEventListener('abort', wake);
    try {
      if (unwritten) await this.#take(unwritten);
      while (await this.#isWanted()) {
        const next = await chunks.next();
        if (next.done === true) {
          this.#verify();
          return;
        }
        await this.#take(next.value);
      }
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      demand.signal.removeEventListener('abort', wake);
      transfer.discard();
      await chunks.return(undefined).catch(() => undefined);
      if (this.#state === 'passing')
        this.#fail(new DroppedError(this.source.upstream.name, TEXTS.unwanted));
      this.#growth.wake();
      this.#hasEnded = true;
      this.#wake();
    }
  }

  #fail(error: Error): void {
    if (error instanceof IntegrityError) this.#parts.transfer.settle(false);
    this.#state = 'failed';
    this.#failure = error;
  }

  #verify(): void {
    const { digest } = this.#parts.source;
    const actual = this.#digester.value();
    if (actual !== digest) throw new IntegrityError(digest, { expected: digest, actual });
    this.#parts.transfer.settle(true);
    this.#state = 'verified';
  }

  /** Waits for a reader, without connection and turn when none comes soon; false when nobody will. */
  async #isWanted(): Promise<boolean> {
    const { demand, transfer, patienceMs } = this.#parts;
    for (let waited = 0; this.#readers.size === 0;) {
      demand.signal.throwIfAborted();
      if (demand.isAbandoned) return false;
      waited += await this.#awaitChange(patienceMs);
      if (waited >= patienceMs) transfer.rest();
    }
    return true;
  }

  async #take(bytes: Buffer): Promise<void> {
    const start = this.#position;
    this.#position += bytes.length;
    const before = this.#digester.copy();
    this.#pieces.push({ start, end: this.#position, bytes, before });
    this.#digester.update(bytes);
    this.#bytes += bytes.length;
    this.#growth.wake();
    await this.#moveOn();
  }

  /** Gives up the oldest pieces, once all have read them, or those who have not keep others waiting. */
  async #moveOn(): Promise<void> {
    const { demand, patienceMs } = this.#parts;
    for (let waited = 0; this.#bytes > this.#limit && this.#readers.size > 0;) {
      demand.signal.throwIfAborted();
      const [oldest, next] = this.#pieces;
      if (!oldest || !next) return;
      const behind = [...this.#readers].filter(({ position }) => position < oldest.end);
      // Those who asked before it began are given the time to come.
      const isExpecting = !this.#hasMovedOn && this.#readers.size < demand.count;
      const isPatient = waited < patienceMs;
      if (behind.length === 0 && !(isExpecting && isPatient)) {
        this.#drop(oldest);
        waited = 0;
      } else if (!isPatient && this.#isSomebodyWaiting) {
        for (const reader of behind)
          reader.fallOut({ size: oldest.start, digester: oldest.before });
      } else waited += await this.#awaitChange(patienceMs);
    }
  }

  #drop(piece: Piece): void {
    this.#pieces.shift();
    this.#bytes -= piece.bytes.length;
    this.#hasMovedOn = true;
  }

  get #isSomebodyWaiting(): boolean {
    return [...this.#readers].some(({ position }) => position >= this.readable);
  }

  /** Resolves with the milliseconds that it took. */
  async #awaitChange(limitMs: number): Promise<number> {
    const since = performance.now();
    const timer = setTimeout(() => this.#wake(), limitMs);
    await this.#change.next;
    clearTimeout(timer);
    return performance.now() - since;
  }
}

class PassageReader implements Reader {
  readonly #passage: Passage;
  readonly #range: ByteRange;
  readonly #client: string | undefined;
  #position: number;
  #own: DirectReader | undefined;

  constructor(passage: Passage, range: ByteRange, client: string | undefined) {
    this.#passage = passage;
    this.#range = range;
    this.#client = client;
    this.#position = range.start;
  }

  get position(): number {
    return this.#position;
  }

  /** It goes on by itself, behind what was hashed already. */
  fallOut(written: { readonly size: number; readonly digester: Digester }): void {
    this.#own = new DirectReader({
      source: this.#passage.source,
      range: { start: this.#position, end: this.#range.end },
      written,
      client: this.#client,
    });
    this.#passage.leave(this);
  }

  async ready(): Promise<void> {
    while (this.#position < this.#range.end && !this.#own) {
      const { growth, failure, isVerified } = this.#passage;
      const hasBytes = this.#passage.readable > this.#position;
      if (hasBytes || isVerified || failure !== undefined) return;
      await growth;
    }
    await this.#own?.ready();
  }

  shared(): Buffer | undefined {
    const left = this.#range.end - this.#position;
    const bytes = this.#own ? undefined : this.#passage.find(this.#position)?.subarray(0, left);
    if (!bytes || bytes.length === 0) return undefined;
    this.#position += bytes.length;
    this.#passage.moved(this.#position - bytes.length, this.#position);
    return bytes;
  }

  async read(): Promise<Buffer> {
    while (this.#position < this.#range.end) {
      if (this.#own) return this.#own.read();
      // Taken before the state is read, so that no change is missed.
      const { growth } = this.#passage;
      const bytes = this.shared();
      if (bytes) return bytes;
      if (this.#passage.failure !== undefined) throw this.#passage.failure;
      if (this.#passage.isVerified) break;
      await growth;
    }
    return EMPTY;
  }

  async close(): Promise<void> {
    this.#passage.leave(this);
    await this.#own?.close();
  }
}
