import type { Metrics } from '../../observe/metrics.ts';
import { type Digest, IntegrityError } from '../../oci/digest.ts';
import type { Repository } from '../../oci/reference.ts';
import type { Timing } from '../../net/timing.ts';
import type { BlobBody, BlobHead, Reading, Upstream } from '../../upstream/upstream.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { TEXTS } from '../texts.ts';
import { RateFloor } from '../../net/deadline.ts';
import { MAX_RETRY_AFTER_MS, TransferRetries } from './retries.ts';
import type { TransferQueue } from './transfer-queue.ts';
import type { QueueDemand, Turn } from './turn.ts';

/** One blob at one upstream. */
export interface TransferSource {
  readonly upstream: Upstream;
  /** Of the upstream. */
  readonly queue: TransferQueue;
  readonly repository: Repository;
  readonly digest: Digest;
  /** What a held manifest says. */
  readonly describedSize: () => Promise<number | undefined>;
  readonly timing: Timing;
  readonly metrics: Metrics;
}

export interface TransferParts extends TransferSource {
  readonly demand: QueueDemand;
  /** Exclusive; without it the transfer goes to the end of the blob. */
  readonly end?: number | undefined;
}

/** While clients still wait for headers; containerd gives them 30 s in all. */
const MAX_ATTEMPTS_TO_START = 3;
/** Before a fair share of bytes has come: with the pauses between them, about half a minute of outage. */
const MAX_BREAKS = 8;
/**
 * What a link at the floor brings in 16 s. Handshake and headers of a request cost some 6 KiB, so that
 * an upstream that breaks off after each byte ends the transfer and is not asked a million times.
 */
const FAIR_SHARE_BYTES = 16 * 1024;
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
  readonly #parts: TransferParts;
  #position = 0;
  #size: number | undefined;
  #body: BlobBody | undefined;
  #reading: Reading | undefined;
  #honoursRange = true;
  #turn: Turn | undefined;
  #wasBegun = false;
  /** The last answer began at the first byte although another was asked for. */
  #repeats = false;
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
    this.#rateFloor = new RateFloor(parts.timing.stallMs);
    this.#retries = new TransferRetries(parts.timing, parts.demand.signal);
  }

  /** Bytes of the whole blob, once known. */
  get size(): number | undefined {
    return this.#size;
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
    return this.#reading?.isGuess === true;
  }

  /** What the digest says of the bytes: what is begun after they were wrong reads them the other way. */
  settle(isRight: boolean): void {
    this.#reading?.settle(isRight);
  }

  /** Where the transfer ends, as far as is known. */
  get #end(): number | undefined {
    return this.#parts.end ?? this.#size;
  }

  /** What a HEAD or a manifest says of the size before the transfer begins. */
  expect(size: number): void {
    this.#size ??= size;
    if (this.#turn) this.#turn.size = size;
  }

  get isWaiting(): boolean {
    return this.#turn?.isWaiting === true;
  }

  /** Takes its place in the queue, or has it already. */
  line(): Turn {
    if (!this.#turn) {
      this.#turn = this.#parts.queue.line(this.#parts.demand, { isResumed: this.#wasBegun });
      if (this.#size !== undefined) this.#turn.size = this.#size;
    }
    return this.#turn;
  }

  /**
   * Asks by HEAD, once that is worth it, unless the turn comes first; the GET tells where that fails.
   */
  async askWhileWaiting(
    worth: Promise<void>,
    listed: number | undefined,
  ): Promise<BlobHead | 'absent' | undefined> {
    const { upstream, repository, digest, demand, queue } = this.#parts;
    const ask = async (): Promise<BlobHead | 'absent'> =>
      (await upstream.headBlob(repository, digest, { demand, size: listed, isWanted: true })) ??
      'absent';
    return queue.askWhileWaiting(this.line(), worth, ask);
  }

  /**
   * Resolves when the upstream's headers are here; false when it has no such blob. All attempts
   * together, with their logins and redirects, have no more time than a first byte may take, from the
   * turn on.
   */
  async start(position: number): Promise<boolean> {
    this.#position = position;
    await this.#takeTurn();
    const { attemptsMs, firstByteMs } = this.#parts.timing;
    const begun = performance.now();
    const [lastStart, lastByte] = [begun + attemptsMs, begun + Math.max(firstByteMs, attemptsMs)];
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#takeTurn();
        this.#body = await this.#open(Math.ceil(lastByte - performance.now()));
        if (!this.#body) this.#giveTurn();
        return this.#body !== undefined;
      } catch (error) {
        const isLast = attempt === MAX_ATTEMPTS_TO_START || performance.now() > lastStart;
        if (isLast || !this.#mayGoOn(error, 0)) {
          this.#giveTurn();
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
      for (let breaks = 0, fair = this.#position; ;) {
        try {
          await this.#takeTurn();
          this.#rateFloor.wait();
          this.#body ??= await this.#reopen(breaks > 0);
          this.#isDraining = true;
          if (yield* this.#drain(this.#body)) return undefined;
          [this.#isDraining, this.#body] = [false, undefined];
          this.#giveTurn();
        } catch (error) {
          [this.#isDraining, this.#body] = [false, undefined];
          if (this.#isComplete(error)) return undefined;
          if (this.#position - fair >= FAIR_SHARE_BYTES) [breaks, fair] = [0, this.#position];
          breaks += 1;
          if (breaks > MAX_BREAKS || !this.#mayGoOn(error, MAX_RETRY_AFTER_MS)) throw error;
          await this.#pause(breaks, error);
          this.#rateFloor.count(0);
        }
      }
    } finally {
      this.discard();
    }
  }

  /** All bytes are here although the body broke before its end; the digest will tell. */
  #isComplete(error: unknown): boolean {
    if (!(error instanceof UpstreamError)) return false;
    const isPast = error.status === 416 && this.#size === undefined;
    return this.#position > 0 && (isPast || this.#position === this.#end);
  }

  /** Closes it; nobody will read it. */
  discard(): void {
    this.#body?.discard();
    this.#giveTurn();
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

  async #takeTurn(): Promise<void> {
    const turn = this.line();
    turn.onSlow = (patienceMs) => {
      // Whoever takes the bytes stalls, not the upstream: its connection would fill up.
      const now = performance.now();
      if (now - (this.#handedOnAt ?? now) > patienceMs / 2) this.rest();
    };
    await turn.begun;
    this.#wasBegun = true;
  }

  #giveTurn(): void {
    this.#turn?.[Symbol.dispose]();
    this.#turn = undefined;
  }

  /** Whether it can go on later without much being sent twice. */
  get #mayInterrupt(): boolean {
    const left = this.#end === undefined ? Infinity : this.#end - this.#position;
    return this.#honoursRange && !this.#repeats && left > NEARLY_DONE_BYTES;
  }

  async #open(withinMs: number): Promise<BlobBody | undefined> {
    const { upstream, repository, digest, demand, describedSize: size } = this.#parts;
    const start = this.#honoursRange ? this.#position : 0;
    // Some registries refuse an open range.
    const end = start > 0 ? this.#end : this.#parts.end;
    this.#isOpening = true;
    const asking = upstream.getBlob(repository, digest, {
      start,
      ...(this.#honoursRange && end !== undefined && { end }),
      withinMs,
      size,
      demand,
    });
    const body = await asking.finally(() => {
      this.#isOpening = false;
    });
    this.#turn?.opened();
    if (body) this.#repeats = body.start < start;
    this.#reading = body?.reading;
    // A range would be one of the encoding.
    if (body?.reading?.isDecoded) this.#honoursRange = false;
    if (body?.size !== undefined) {
      this.expect(body.size);
      if (this.#size !== body.size) {
        body.discard();
        throw new IntegrityError(digest, {
          expected: TEXTS.blobBytes({ bytes: this.#size ?? 0 }),
          actual: TEXTS.announcedOnResumption({ bytes: body.size }),
        });
      }
    }
    return body;
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
      this.#turn?.moved(chunk.length);
      this.#rateFloor.count(chunk.length);
      // The whole comes although a range was asked for.
      const fresh = left.subarray(0, (this.#parts.end ?? Infinity) - this.#position);
      if (fresh.length < left.length && fresh.length === 0) return true;
      if (fresh.length === 0) continue;
      this.#position += fresh.length;
      if (this.#size !== undefined && this.#position > this.#size) {
        throw new IntegrityError(this.#parts.digest, {
          expected: TEXTS.bytesUpTo({ end: this.#size }),
          actual: TEXTS.moreBytes,
        });
      }
      this.#handedOnAt = performance.now();
      yield fresh;
      this.#handedOnAt = undefined;
      this.#rateFloor.wait();
      if (this.#isInterrupted()) return false;
    }
    if (this.#end !== undefined && this.#position < this.#end) {
      const { upstream, digest } = this.#parts;
      if (body.reading) {
        // Its own end has come: it was read the wrong way.
        throw new IntegrityError(digest, {
          expected: TEXTS.bytesUpTo({ end: this.#end }),
          actual: TEXTS.blobBytes({ bytes: this.#position }),
        });
      }
      const reason = TEXTS.transferEnded({ position: this.#position, end: this.#end });
      throw new UpstreamError(upstream.name, 'unreachable', reason);
    }
    return true;
  }

  #isInterrupted(): boolean {
    const isRevoked = this.#turn?.isRevoked === true && this.#mayInterrupt;
    const isInterrupted = this.#isResting || isRevoked;
    if (this.#turn) this.#turn.isFixed = !this.#mayInterrupt;
    this.#isResting = false;
    return isInterrupted;
  }

  /** Whether another attempt may do better. Learns when an upstream cannot do ranges. */
  #mayGoOn(error: unknown, patienceMs: number): boolean {
    const isOtherRange =
      error instanceof UpstreamError && error.fault === 'bad-response' && error.status === 206;
    if (!isOtherRange || !this.#honoursRange) return this.#retries.mayHelp(error, patienceMs);
    this.#honoursRange = false;
    return this.#parts.demand.signal?.aborted !== true;
  }

  async #pause(failures: number, error?: unknown): Promise<void> {
    // Others have it while this one sleeps.
    this.#giveTurn();
    await this.#retries.pause(failures, error);
  }
}
