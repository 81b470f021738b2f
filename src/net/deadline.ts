import { MIN_BYTES_PER_SECOND } from './timing.ts';

/** While it stands still it is looked at no more often. */
const OWN_LOOK_MS = 100;

/**
 * The one limit of time over an exchange: over all requests that one question takes, with their
 * logins, redirects and repetitions, and over all that is read or thrown away of their answers. It
 * grows by a second with each KiB received, so that a slow link ends what it has begun, and stands still
 * while we ourselves do not read on.
 */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #passed = Promise.withResolvers<never>();
  readonly #startedAt = performance.now();
  readonly #limitMs: number;
  readonly #error: () => Error;
  readonly #closing: AbortSignal | undefined;
  #receivedBytes = 0;
  /** Time that was our own, and when such time began that goes on. */
  #ownMs = 0;
  #ownSince: number | undefined;
  #timer: NodeJS.Timeout;

  /** `error` makes the reason of what ends by it; `closing` ends it before its time. */
  constructor(limitMs: number, error: () => Error, closing?: AbortSignal) {
    this.#limitMs = limitMs;
    this.#error = error;
    this.#closing = closing;
    // Whoever waits sees it; the end of a deadline that nobody waits for is no surprise.
    this.#passed.promise.catch(() => undefined);
    this.#timer = setTimeout(() => this.#look(), limitMs);
    closing?.addEventListener('abort', this.#close, { once: true });
    if (closing?.aborted) this.#close();
  }

  /** Aborts with the error. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  received(bytes: number): void {
    this.#receivedBytes += bytes;
  }

  /** Waits for work of our own, which is no silence of the other side. One at a time. */
  async without<Value>(work: Promise<Value>): Promise<Value> {
    this.#ownSince = performance.now();
    try {
      return await work;
    } finally {
      this.#ownMs += performance.now() - this.#ownSince;
      this.#ownSince = undefined;
    }
  }

  /** Settles as the work does, or rejects when the time is over; what the work goes on with is its own. */
  async within<Value>(work: Promise<Value>): Promise<Value> {
    work.catch(() => undefined);
    return Promise.race([work, this.#passed.promise]);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#closing?.removeEventListener('abort', this.#close);
  }

  readonly #close = (): void => this.#end(this.#closing?.reason as Error);

  #look(): void {
    const now = performance.now();
    const ownMs = this.#ownMs + (this.#ownSince === undefined ? 0 : now - this.#ownSince);
    const allowedMs = this.#limitMs + (this.#receivedBytes / MIN_BYTES_PER_SECOND) * 1000;
    const leftMs = this.#startedAt + allowedMs + ownMs - now;
    if (leftMs > 0) {
      const nextMs = this.#ownSince === undefined ? leftMs : Math.max(leftMs, OWN_LOOK_MS);
      this.#timer = setTimeout(() => this.#look(), Math.ceil(nextMs));
      return;
    }
    this.#end(this.#error());
  }

  #end(error: Error): void {
    this.#passed.reject(error);
    this.#controller.abort(error);
  }
}

/** The rate is taken over so many stall limits: one long pause is not a slow upstream. */
const RATE_STALLS = 2;

/** Tells when an upstream sends fewer bytes a second than the minimum rate, over the time it is waited for. */
export class RateFloor {
  readonly #overMs: number;
  readonly #tooSlow = Promise.withResolvers<void>();
  /** Time spent waiting for the upstream, and bytes received in it. */
  #waitedMs = 0;
  #came = 0;
  #waitingSince = 0;

  constructor(stallMs: number) {
    this.#overMs = RATE_STALLS * stallMs;
  }

  /** Resolves once the upstream has sent less than the minimum. */
  get tooSlow(): Promise<void> {
    return this.#tooSlow.promise;
  }

  /** The upstream is waited for from now on. */
  wait(): void {
    this.#waitingSince = performance.now();
  }

  /** It was waited for until now, and these bytes came. */
  count(bytes: number): void {
    const now = performance.now();
    this.#waitedMs += now - this.#waitingSince;
    this.#waitingSince = now;
    this.#came += bytes;
    if (this.#waitedMs < this.#overMs) return;
    if (this.#came * 1000 < MIN_BYTES_PER_SECOND * this.#waitedMs) this.#tooSlow.resolve();
    this.#waitedMs = 0;
    this.#came = 0;
  }
}
