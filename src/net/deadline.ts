/** A link that brings less is not waited for. */
const MIN_BYTES_PER_SECOND = 1024;

/**
 * The one limit of time over an exchange: over all requests that one question takes, with their
 * logins, redirects and repetitions, and over all that is read or thrown away of their answers. It
 * grows by a second with each KiB received, so that a slow link ends what it has begun.
 */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #passed = Promise.withResolvers<never>();
  readonly #startedAt = performance.now();
  readonly #limitMs: number;
  readonly #error: () => Error;
  #receivedBytes = 0;
  #timer: NodeJS.Timeout;

  /** `error` makes the reason of what ends by it. */
  constructor(limitMs: number, error: () => Error) {
    this.#limitMs = limitMs;
    this.#error = error;
    // Whoever waits sees it; the end of a deadline that nobody waits for is no surprise.
    this.#passed.promise.catch(() => undefined);
    this.#timer = setTimeout(() => this.#look(), limitMs);
  }

  /** Aborts with the error. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  received(bytes: number): void {
    this.#receivedBytes += bytes;
  }

  /** Settles as the work does, or rejects when the time is over; what the work goes on with is its own. */
  async within<Value>(work: Promise<Value>): Promise<Value> {
    work.catch(() => undefined);
    return Promise.race([work, this.#passed.promise]);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    const allowedMs = this.#limitMs + (this.#receivedBytes / MIN_BYTES_PER_SECOND) * 1000;
    const leftMs = this.#startedAt + allowedMs - performance.now();
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#look(), Math.ceil(leftMs));
      return;
    }
    const error = this.#error();
    this.#passed.reject(error);
    this.#controller.abort(error);
  }
}
