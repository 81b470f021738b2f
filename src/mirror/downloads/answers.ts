import { IntegrityError } from '../../oci/digest.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import type { BlobBody, Reading } from '../../upstream/upstream.ts';
import { TEXTS } from '../texts.ts';
import type { TransferParts } from './transfer-source.ts';

/** What is asked for. */
interface Asked {
  readonly start: number;
  /** As is wanted, and as far as it is known to go at all; both exclusive. */
  readonly end: number | undefined;
  readonly knownEnd: number | undefined;
  readonly withinMs: number;
  /** Only a range is of use. */
  readonly mustBeRange: boolean;
}

/** What an upstream answers to the requests of one transfer, one after the other, and what that tells. */
export class Answers {
  readonly #parts: TransferParts;
  readonly #sized: (bytes: number) => void;
  #size: number | undefined;
  #reading: Reading | undefined;
  #honoursRange = true;
  #isRange = false;
  #repeats = false;
  /** Where the last one ends, when it is a range that was asked for with an end. */
  #rangeEnd: number | undefined;

  /** `sized`: told of the blob's size once it is known. */
  constructor(parts: TransferParts, sized: (bytes: number) => void) {
    this.#parts = parts;
    this.#sized = sized;
  }

  /** Bytes of the whole blob, once known. */
  get size(): number | undefined {
    return this.#size;
  }

  /** Whether the bytes had to be decoded was guessed. */
  get isGuess(): boolean {
    return this.#reading?.isGuess === true;
  }

  get honoursRange(): boolean {
    return this.#honoursRange;
  }

  /** The last one was the range that was asked for. */
  get isRange(): boolean {
    return this.#isRange;
  }

  /** The last one began at the first byte although another was asked for. */
  get repeats(): boolean {
    return this.#repeats;
  }

  /** Of the last one, where it was to end before the blob does. */
  get end(): number | undefined {
    return this.#rangeEnd ?? this.#size;
  }

  /** What the digest says of the bytes. */
  settle(isRight: boolean): void {
    this.#reading?.settle(isRight);
  }

  /** What is said of the size; the first word counts. */
  expect(size: number): void {
    if (this.#size !== undefined) return;
    this.#size = size;
    this.#sized(size);
  }

  /** `undefined` when the upstream has no such blob. */
  async ask(asked: Asked): Promise<BlobBody | undefined> {
    const { upstream, repository, digest, demand, describedSize: size } = this.#parts;
    const start = this.#honoursRange ? asked.start : 0;
    // Some registries refuse an open range.
    const end = start > 0 ? asked.knownEnd : asked.end;
    const body = await upstream.getBlob(repository, digest, {
      start,
      ...(this.#honoursRange && end !== undefined && { end }),
      withinMs: asked.withinMs,
      size,
      demand,
    });
    if (body) this.#repeats = body.start < start;
    this.#reading = body?.reading;
    this.#isRange = body?.isRange === true;
    this.#rangeEnd = this.#isRange ? end : undefined;
    if (body && !this.#isRange && asked.mustBeRange) {
      body.discard();
      throw new UpstreamError(upstream.name, 'bad-response', TEXTS.ignoresRanges);
    }
    // A range would be one of the encoding.
    if (body?.reading?.isDecoded) this.#honoursRange = false;
    if (body?.size !== undefined) this.#compare(body, body.size);
    return body;
  }

  #compare(body: BlobBody, size: number): void {
    this.expect(size);
    if (this.#size === size) return;
    body.discard();
    throw new IntegrityError(this.#parts.digest, {
      expected: TEXTS.blobBytes({ bytes: this.#size ?? 0 }),
      actual: TEXTS.announcedOnResumption({ bytes: size }),
    });
  }

  /** Whether the error says that the upstream cannot do ranges, which is news. */
  learnsFrom(error: unknown): boolean {
    const isOtherRange =
      error instanceof UpstreamError && error.fault === 'bad-response' && error.status === 206;
    if (!isOtherRange || !this.#honoursRange) return false;
    this.#honoursRange = false;
    return true;
  }
}
