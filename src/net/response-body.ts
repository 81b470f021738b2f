/** Beyond this the socket is not read until the consumer has caught up. */
const HIGH_WATER_BYTES = 512 * 1024;
/** An answer nobody wants is read to its end when that is near, to keep the connection: an error document. */
const MAX_DUMP_BYTES = 8 * 1024;

/** The side of the HTTP client that a body may act on. */
export interface BodySource {
  pause(): void;
  resume(): void;
  abort(reason: Error): void;
}

/**
 * A response's body as it arrives. Unlike a stream, which forgets what it has buffered when the
 * connection breaks, it hands out every byte that came before it reports the break: what came over
 * a bad link is not fetched again.
 */
export class ResponseBody {
  readonly #source: BodySource;
  readonly #chunks: Buffer[] = [];
  #queuedBytes = 0;
  #isPaused = false;
  #ending: { readonly error: Error | undefined } | undefined;
  #waiting: PromiseWithResolvers<void> | undefined;

  constructor(source: BodySource) {
    this.#source = source;
  }

  /** The source's part. */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#queuedBytes += chunk.length;
    if (this.#queuedBytes > HIGH_WATER_BYTES && !this.#isPaused) {
      this.#isPaused = true;
      this.#source.pause();
    }
    this.#wake();
  }

  /** The source's part: nothing follows, because of the error or because that was all. */
  finish(error?: Error): void {
    this.#ending ??= { error };
    this.#wake();
  }

  /** The next chunk; `undefined` at the end. Rejects with what broke the body, after its last byte. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk) return this.#hand(chunk);
      if (this.#ending?.error) throw this.#ending.error;
      if (this.#ending) return undefined;
      this.#waiting ??= Promise.withResolvers<void>();
      await this.#waiting.promise;
    }
  }

  /** Closes the connection unless the body is all here; what was received may still be read. */
  destroy(reason: Error = new Error('left unread')): void {
    if (this.#ending) return;
    this.finish(reason);
    this.#source.abort(reason);
  }

  /** Reads the rest and forgets it, or closes the connection when that is much or late. Never rejects. */
  async dump(limitMs: number): Promise<void> {
    let bytes = 0;
    const timer = setTimeout(() => this.destroy(), limitMs);
    try {
      for (;;) {
        const chunk = await this.next();
        if (!chunk) return;
        bytes += chunk.length;
        if (bytes > MAX_DUMP_BYTES) this.destroy();
      }
    } catch {
      // Nobody wanted it.
    } finally {
      clearTimeout(timer);
    }
  }

  #hand(chunk: Buffer): Buffer {
    this.#queuedBytes -= chunk.length;
    if (this.#isPaused && this.#queuedBytes <= HIGH_WATER_BYTES / 2) {
      this.#isPaused = false;
      this.#source.resume();
    }
    return chunk;
  }

  #wake(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}

/** The whole of it, or `undefined` when it is longer than the limit (bytes). */
export async function readSmall(
  chunks: AsyncIterable<Buffer>,
  limit: number,
): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > limit) return undefined;
    parts.push(chunk);
  }
  return Buffer.concat(parts, size);
}
