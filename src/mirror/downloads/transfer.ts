import { IntegrityError } from '../../oci/digest.ts';
import type { BlobBody } from '../../upstream/upstream.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { TEXTS } from '../texts.ts';
import { RateFloor } from '../../net/deadline.ts';
import { Answers } from './answers.ts';
import { MAX_BREAKS, MAX_RETRY_AFTER_MS, TransferRetries } from './retries.ts';
import type { NextRange, TransferParts } from './transfer-source.ts';
import { TransferTurn } from './transfer-turn.ts';

/** While clients still wait for headers; containerd gives them 30 s in all. */
const MAX_ATTEMPTS_TO_START = 3;
/** What is so near its end is not interrupted for others. */
const NEARLY_DONE_BYTES = 1024 * 1024;

/**
 * A blob's bytes from an upstream, in order and each once, however often the connection breaks:
 * it goes on by `Range`, or by skipping when the upstream ignores that. Nothing is verified here
 * but lengths.
 *
 * It has a connection only in its turn: while it waits for one, sleeps between attempts, or has given
 * its turn to others, there is none. One that brings next to nothing keeps its connection without a
 * turn, for as long as bytes come.
 */
export class Transfer {
  readonly turn: TransferTurn;
  readonly #parts: TransferParts;
  #position = 0;
  /** As asked for. */
  #end: number | undefined;
  #next: NextRange | undefined;
  #body: BlobBody | undefined;
  readonly #answers: Answers;
  /** The upstream is waited for. */
  #isOpening = false;
  #isDraining = false;
  /** Since when whoever takes the bytes has the next move. */
  #handedOnAt: number | undefined;
  /** Its connection was closed until somebody takes bytes again. */
  #isResting = false;
  readonly #rateFloor: RateFloor;
  readonly #retries: TransferRetries;

  constructor(parts: TransferParts) {
    this.#parts = parts;
    this.#end = parts.end;
    this.turn = new TransferTurn(parts, (patienceMs) => this.#restIfHeldUp(patienceMs));
    this.#answers = new Answers(parts, (size) => (this.turn.size = parts.turnSize ?? size));
    this.#rateFloor = new RateFloor(parts.timing.stallMs);
    this.#retries = new TransferRetries(parts.timing, parts.demand.signal);
  }

  /** Bytes of the whole blob, once known. */
  get size(): number | undefined {
    return this.#answers.size;
  }

  /**
   * Broken connections included. The time in which it waits for a turn, or for whoever takes the
   * bytes, does not count.
   */
  get tooSlow(): Promise<void> {
    return this.#rateFloor.tooSlow;
  }

  /** Whether the bytes had to be decoded was guessed: before the digest tells nobody should see them. */
  get isGuess(): boolean {
    return this.#answers.isGuess;
  }

  /** What the digest says of the bytes: what is begun after they were wrong reads them the other way. */
  settle(isRight: boolean): void {
    this.#answers.settle(isRight);
  }

  /** Of the byte behind the last one that was handed on. */
  get position(): number {
    return this.#position;
  }

  /** Where the transfer ends, as far as is known. */
  get end(): number | undefined {
    const { size } = this;
    return this.#end === undefined || size === undefined
      ? (this.#end ?? size)
      : Math.min(this.#end, size);
  }

  /** The last answer was the range that was asked for. */
  get isRange(): boolean {
    return this.#answers.isRange;
  }

  /** It brings more than one range: the next one is asked for when it has come to the end of one. */
  follow(next: NextRange | undefined): void {
    this.#next = next;
  }

  /** It goes from this position to the end of the blob. */
  goOn(position: number): void {
    this.#next = undefined;
    this.#end = undefined;
    if (position === this.#position) return;
    this.#position = position;
    this.#body?.discard();
    this.#body = undefined;
  }

  /** What lies from there on comes by another transfer. It brings more than one range. */
  shorten(end: number): void {
    if (end > this.#position) this.#end = end;
  }

  /** What a HEAD or a manifest says of the size before the transfer begins. */
  expect(size: number): void {
    this.#answers.expect(size);
  }

  /**
   * Resolves when the upstream's headers are here; false when it has no such blob. All attempts
   * together, with their logins and redirects, have no more time than a first byte may take, from the
   * turn on. `end`: exclusive, where it is to bring a range.
   */
  async start(position: number, end = this.#parts.end): Promise<boolean> {
    this.#position = position;
    this.#end = end;
    await this.turn.take();
    const { attemptsMs, firstByteMs } = this.#parts.timing;
    const begun = performance.now();
    const [lastStart, lastByte] = [begun + attemptsMs, begun + Math.max(firstByteMs, attemptsMs)];
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.turn.take();
        this.#body = await this.#open(Math.ceil(lastByte - performance.now()));
        if (!this.#body) this.turn.give();
        return this.#body !== undefined;
      } catch (error) {
        const isLast = attempt === MAX_ATTEMPTS_TO_START || performance.now() > lastStart;
        if (isLast || !this.#mayGoOn(error, 0)) {
          this.turn.give();
          throw error;
        }
        await this.#pause(attempt);
      }
    }
  }

  /**
   * Starts it where `start` has not. Ends after the last byte, or throws what cannot be mended. Who
   * has not come to the end returns it, or discards the transfer.
   */
  async *chunks(): AsyncGenerator<Buffer, undefined> {
    try {
      for (let isBroken = false; ;) {
        try {
          await this.turn.take();
          this.#rateFloor.wait();
          this.#body ??= await this.#reopen(isBroken);
          isBroken = false;
          this.#isDraining = true;
          const isOver = yield* this.#drain(this.#body);
          [this.#isDraining, this.#body] = [false, undefined];
          if (!isOver) this.turn.give();
          else if (!(await this.#moveOn())) return undefined;
        } catch (error) {
          [this.#isDraining, this.#body] = [false, undefined];
          if (this.#isComplete(error)) {
            if (await this.#moveOn()) continue;
            return undefined;
          }
          isBroken = true;
          const breaks = this.#retries.break();
          if (breaks > MAX_BREAKS || !this.#mayGoOn(error, MAX_RETRY_AFTER_MS)) throw error;
          await this.#pause(breaks, error);
          this.#rateFloor.count(0);
        }
      }
    } finally {
      this.discard();
    }
  }

  async #moveOn(): Promise<boolean> {
    const range = await this.#next?.();
    if (!range) return false;
    this.#position = range.start;
    this.#end = range.end;
    return true;
  }

  /** All bytes are here although the body broke before its end; the digest will tell. */
  #isComplete(error: unknown): boolean {
    if (!(error instanceof UpstreamError)) return false;
    const isPast = error.status === 416 && this.size === undefined;
    return this.#position > 0 && (isPast || this.#position === this.end);
  }

  /** Closes it; nobody will read it. */
  discard(): void {
    this.#body?.discard();
    this.turn.give();
  }

  /**
   * Has neither connection nor turn until the next chunk is asked for. While the upstream is waited
   * for nothing changes.
   */
  rest(): void {
    const isAsking = this.#isOpening || (this.#isDraining && this.#handedOnAt === undefined);
    if (isAsking || !this.#mayInterrupt) return;
    this.discard();
    this.#isResting = this.#isDraining;
    if (!this.#isDraining) this.#body = undefined;
  }

  /** Its place was wanted by others because next to nothing came. */
  #restIfHeldUp(patienceMs: number): void {
    // Whoever takes the bytes stalls, not the upstream: its connection would fill up.
    const now = performance.now();
    if (now - (this.#handedOnAt ?? now) > patienceMs / 2) this.rest();
  }

  /** Whether it can go on later without much being sent twice. */
  get #mayInterrupt(): boolean {
    const left = this.end === undefined ? Infinity : this.end - this.#position;
    const { honoursRange, repeats } = this.#answers;
    return honoursRange && !repeats && left > NEARLY_DONE_BYTES;
  }

  async #open(withinMs: number): Promise<BlobBody | undefined> {
    this.#isOpening = true;
    const asking = this.#answers.ask({
      start: this.#position,
      end: this.#end,
      knownEnd: this.end,
      withinMs,
      mustBeRange: this.#isPart,
    });
    const body = await asking.finally(() => {
      this.#isOpening = false;
    });
    this.turn.held?.opened();
    // All of the blob comes in place of a range.
    if (!this.isRange && this.#next) this.#end = undefined;
    return body;
  }

  /** Beside another transfer of the blob: what is no range is of no use. */
  get #isPart(): boolean {
    return this.#parts.isExtra === true || this.#parts.isPart === true;
  }

  async #reopen(isBroken: boolean): Promise<BlobBody> {
    const { upstream, metrics, timing } = this.#parts;
    if (isBroken) metrics.downloadResumes.inc({ upstream: upstream.name });
    const body = await this.#open(timing.firstByteMs);
    if (body) return body;
    throw new UpstreamError(upstream.name, 'bad-response', TEXTS.vanishedDuringTransfer);
  }

  /** Returns false when it was interrupted for others. */
  async *#drain(body: BlobBody): AsyncGenerator<Buffer, boolean> {
    let skip = this.#position - body.start;
    for await (const chunk of body.chunks) {
      const left = chunk.subarray(Math.min(skip, chunk.length));
      skip -= chunk.length - left.length;
      this.turn.held?.moved(chunk.length);
      this.#rateFloor.count(chunk.length);
      // The whole comes although a range was asked for.
      const fresh = left.subarray(0, (this.#end ?? Infinity) - this.#position);
      if (fresh.length < left.length && fresh.length === 0) return true;
      if (fresh.length === 0) continue;
      this.#position += fresh.length;
      this.#retries.came(fresh.length);
      if (this.size !== undefined && this.#position > this.size) {
        throw new IntegrityError(this.#parts.digest, {
          expected: TEXTS.bytesUpTo({ end: this.size }),
          actual: TEXTS.moreBytes,
        });
      }
      this.#handedOnAt = performance.now();
      yield fresh;
      this.#handedOnAt = undefined;
      this.#rateFloor.wait();
      if (this.#isInterrupted()) return false;
      // Less is wanted now than was asked for.
      if (this.#position === this.#end && this.#end !== this.#answers.end) return true;
    }
    const { end } = this;
    if (end !== undefined && this.#position < end) {
      // More is wanted now than was asked for.
      if (this.isRange && this.#position === this.#answers.end) return false;
      const { upstream, digest } = this.#parts;
      if (body.reading) {
        // Its own end has come: it was read the wrong way.
        throw new IntegrityError(digest, {
          expected: TEXTS.bytesUpTo({ end }),
          actual: TEXTS.blobBytes({ bytes: this.#position }),
        });
      }
      const reason = TEXTS.transferEnded({ position: this.#position, end });
      throw new UpstreamError(upstream.name, 'unreachable', reason);
    }
    return true;
  }

  #isInterrupted(): boolean {
    const { held } = this.turn;
    const isInterrupted = this.#isResting || (this.turn.isRevoked && this.#mayInterrupt);
    if (held) held.isFixed = !this.#mayInterrupt;
    this.#isResting = false;
    return isInterrupted;
  }

  /** Whether another attempt may do better. Learns when an upstream cannot do ranges. */
  #mayGoOn(error: unknown, patienceMs: number): boolean {
    if (this.#parts.isExtra) return false;
    if (this.#isPart || !this.#answers.learnsFrom(error)) {
      return this.#retries.mayHelp(error, patienceMs);
    }
    return this.#parts.demand.signal?.aborted !== true;
  }

  async #pause(failures: number, error?: unknown): Promise<void> {
    // Others have it while this one sleeps.
    this.turn.give();
    await this.#retries.pause(failures, error);
  }
}
