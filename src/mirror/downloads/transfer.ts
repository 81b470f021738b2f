import { setTimeout as sleep } from 'node:timers/promises';
import type { Metrics } from '../../observe/metrics.ts';
import { IntegrityError } from '../../oci/integrity-error.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Repository } from '../../oci/reference.ts';
import { pausesOf, type Timing } from '../../net/timing.ts';
import type { Demand } from '../../upstream/demand.ts';
import type { BlobBody, Upstream } from '../../upstream/upstream.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { TEXTS } from '../texts.ts';

/** One blob at one upstream. */
export interface TransferSource {
  readonly upstream: Upstream;
  readonly repository: Repository;
  readonly digest: Digest;
  readonly timing: Timing;
  readonly metrics: Metrics;
}

export interface TransferParts extends TransferSource {
  readonly demand: Demand;
  /** Exclusive; without it the transfer goes to the end of the blob. */
  readonly end?: number | undefined;
}

/** While clients still wait for headers; containerd gives them 30 s in all. */
const MAX_ATTEMPTS_TO_START = 3;
/** In a row without a byte: with the pauses between them, about half a minute of outage. */
const MAX_BREAKS = 8;
/** A registry that asks for a longer pause gets it, but not from a waiting client. */
const MAX_RETRY_AFTER_MS = 60_000;

/**
 * A blob's bytes from an upstream, in order and each once, however often the connection breaks:
 * it goes on by `Range`, or by skipping when the upstream ignores that. Nothing is verified here
 * but lengths.
 */
export class Transfer {
  readonly #parts: TransferParts;
  #position = 0;
  #size: number | undefined;
  #body: BlobBody | undefined;
  #honoursRange = true;

  constructor(parts: TransferParts) {
    this.#parts = parts;
  }

  /** Bytes of the whole blob, once known. */
  get size(): number | undefined {
    return this.#size;
  }

  /** Where the transfer ends, as far as is known. */
  get #end(): number | undefined {
    return this.#parts.end ?? this.#size;
  }

  /** Resolves when the upstream's headers are here; false when it has no such blob. */
  async start(position: number): Promise<boolean> {
    this.#position = position;
    const lastStart = performance.now() + this.#parts.timing.attemptsMs;
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#body = await this.#open();
        return this.#body !== undefined;
      } catch (error) {
        const isLast = attempt === MAX_ATTEMPTS_TO_START || performance.now() > lastStart;
        if (isLast || !this.#mayGoOn(error, 0)) throw error;
        await this.#pause(attempt);
      }
    }
  }

  /** After `start` resolved with true. Ends after the last byte, or throws what cannot be mended. */
  async *chunks(): AsyncGenerator<Buffer> {
    for (let breaks = 0; ;) {
      const before = this.#position;
      try {
        this.#body ??= await this.#reopen();
        yield* this.#drain(this.#body);
        return;
      } catch (error) {
        this.#body = undefined;
        breaks = this.#position > before ? 1 : breaks + 1;
        if (breaks > MAX_BREAKS || !this.#mayGoOn(error, MAX_RETRY_AFTER_MS)) throw error;
        await this.#pause(breaks, error);
      }
    }
  }

  /** Closes a started transfer that nobody will read. */
  discard(): void {
    this.#body?.discard();
  }

  async #open(): Promise<BlobBody | undefined> {
    const { upstream, repository, digest, demand } = this.#parts;
    const start = this.#honoursRange ? this.#position : 0;
    const body = await upstream.getBlob(repository, digest, {
      start,
      // Some registries refuse an open range.
      ...(start > 0 && this.#end !== undefined && { end: this.#end }),
      demand,
    });
    if (body?.size !== undefined) {
      this.#size ??= body.size;
      if (this.#size !== body.size) {
        throw new IntegrityError(digest, {
          expected: TEXTS.blobBytes({ bytes: this.#size }),
          actual: TEXTS.announcedOnResumption({ bytes: body.size }),
        });
      }
    }
    return body;
  }

  async #reopen(): Promise<BlobBody> {
    const { upstream, metrics } = this.#parts;
    metrics.downloadResumes.inc({ upstream: upstream.name });
    const body = await this.#open();
    if (body) return body;
    throw new UpstreamError(upstream.name, 'bad-response', TEXTS.vanishedDuringTransfer);
  }

  async *#drain(body: BlobBody): AsyncGenerator<Buffer> {
    let skip = this.#position - body.start;
    for await (const chunk of body.chunks) {
      const fresh = chunk.subarray(Math.min(skip, chunk.length));
      skip -= chunk.length - fresh.length;
      if (fresh.length === 0) continue;
      this.#position += fresh.length;
      if (this.#end !== undefined && this.#position > this.#end) {
        throw new IntegrityError(this.#parts.digest, {
          expected: TEXTS.bytesUpTo({ end: this.#end }),
          actual: TEXTS.moreBytes,
        });
      }
      yield fresh;
    }
    if (this.#end !== undefined && this.#position < this.#end) {
      const { upstream } = this.#parts;
      const reason = TEXTS.transferEnded({ position: this.#position, end: this.#end });
      throw new UpstreamError(upstream.name, 'unreachable', reason);
    }
  }

  /** Whether another attempt may do better. Learns when an upstream cannot do ranges. */
  #mayGoOn(error: unknown, patienceMs: number): boolean {
    if (this.#parts.demand.signal?.aborted || !(error instanceof UpstreamError)) return false;
    switch (error.fault) {
      case 'unreachable':
      case 'timeout':
      case 'failing':
        return true;
      case 'rate-limited':
        return error.retryAfterMs !== undefined && error.retryAfterMs <= patienceMs;
      case 'bad-response':
        if (error.status !== 206 || !this.#honoursRange) return false;
        this.#honoursRange = false;
        return true;
      case 'offline':
      case 'unauthorized':
      case 'denied':
        return false;
    }
  }

  async #pause(failures: number, error?: unknown): Promise<void> {
    const { timing, demand } = this.#parts;
    const asked = error instanceof UpstreamError ? (error.retryAfterMs ?? 0) : 0;
    const pause = Math.max(pausesOf(timing).after(failures), Math.min(asked, MAX_RETRY_AFTER_MS));
    await sleep(pause, undefined, { signal: demand.signal });
  }
}
