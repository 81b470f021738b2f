import PQueue from 'p-queue';
import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { Gathering } from './blocks.ts';
import { ExpectedBody } from './expected-body.ts';

/** A request as undici sends it; it asks for content that is not encoded. */
export interface OutgoingRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/**
 * An address that the other side gave, which is asked for as it was written, byte for byte: what is
 * signed holds in no other spelling. Only what cannot stand in a request line is encoded.
 */
export class WrittenUrl extends URL {
  /** Path and query, as a request line has them. */
  readonly target: string;

  constructor(written: string, base: URL) {
    super(written, base);
    const [address = ''] = written.split('#', 1);
    const [before = '', query] = address.split(/\?(.*)/s);
    const path = /^(?:[a-z][a-z\d+.-]*:)?\/\/[^/]+(\/.*)$/i.exec(before)?.[1] ?? before;
    const isWhole = /^\/(?!\/)/.test(path) && PRINTABLE.test(path) && !/\/\.|\\/.test(path);
    const isPlain = query !== undefined && PRINTABLE.test(query);
    this.target = `${isWhole ? path : this.pathname}${isPlain ? `?${query}` : this.search}`;
  }
}

const PRINTABLE = /^[\x21-\x7e]+$/;

/** The headers that came, and the body as it comes. */
export interface IncomingAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: ResponseBody;
}

/** One request and its answer as undici's handler interface tells of them. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #response = Promise.withResolvers<IncomingAnswer>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #received: (bytes: number) => void;
  readonly #isStream: boolean;
  #controller: Dispatcher.DispatchController | undefined;
  #body: ResponseBody | undefined;
  #expected: ExpectedBody | undefined;
  #aborted: Error | undefined;

  /** `received` is told of each chunk of the body; `isStream`: a blob's. */
  constructor(received: (bytes: number) => void, { isStream }: { isStream: boolean }) {
    this.#received = received;
    this.#isStream = isStream;
  }

  get response(): Promise<IncomingAnswer> {
    return this.#response.promise;
  }

  /** Never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  dispatch(dispatcher: Dispatcher, { method, url, headers, body }: OutgoingRequest): void {
    const path = url instanceof WrittenUrl ? url.target : `${url.pathname}${url.search}`;
    const origin = url.origin;
    dispatcher.dispatch(
      {
        origin,
        path,
        method,
        headers: { 'accept-encoding': 'identity', ...headers },
        ...(body !== undefined && { body }),
      },
      this,
    );
  }

  /** At once for whoever waits, although a connection in the making can only be closed later. */
  abort(reason: Error): void {
    this.#aborted ??= reason;
    this.#fail(reason);
    this.#controller?.abort(reason);
  }

  /** Aborts with the signal's reason; what is returned ends that. */
  follow(signal: AbortSignal): () => void {
    const leave = (): void => this.abort(signal.reason as Error);
    signal.addEventListener('abort', leave, { once: true });
    const end = (): void => signal.removeEventListener('abort', leave);
    void this.ended.then(end);
    return end;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted) controller.abort(this.#aborted);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (status < 200) return;
    this.#expected = new ExpectedBody(headers['content-length']);
    this.#body = new ResponseBody(controller, { isStream: this.#isStream });
    this.#response.resolve({ status, headers, body: this.#body });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#expected?.came(chunk.length);
    this.#received(chunk.length);
    this.#body?.push(chunk);
  }

  onResponseEnd(): void {
    this.#expected?.end();
    this.#body?.finish();
    this.#ended.resolve();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error);
  }

  #fail(error: Error): void {
    this.#expected?.end();
    this.#response.reject(error);
    this.#body?.finish(error);
    this.#ended.resolve();
  }
}
/**
 * Beyond so many bytes the socket is not read until the consumer has caught up: of a document, which may
 * have to wait for its place in memory.
 */
const SMALL_WATER_BYTES = 64 * 1024;
/** Of a blob. */
const HIGH_WATER_BYTES = 512 * 1024;
/** Of a blob, so much is handed on in one step where it comes within the time; what comes slower, at once. */
const STEP_BYTES = 256 * 1024;
const STEP_MS = 10;
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
  readonly #isStream: boolean;
  readonly #mostBytes: number;
  readonly #gathering = new Gathering();
  #queuedBytes = 0;
  /** Between two steps. */
  #rest: NodeJS.Timeout | undefined;
  #isPaused = false;
  #ending: { readonly error: Error | undefined } | undefined;
  #waiting: PromiseWithResolvers<void> | undefined;

  /** `isStream`: a blob's. */
  constructor(source: BodySource, { isStream }: { isStream: boolean }) {
    this.#source = source;
    this.#isStream = isStream;
    this.#mostBytes = isStream ? HIGH_WATER_BYTES : SMALL_WATER_BYTES;
  }

  /** The source's part. Copies it. */
  push(chunk: Uint8Array): void {
    this.#gathering.add(chunk);
    this.#queuedBytes += chunk.length;
    if (this.#queuedBytes > this.#mostBytes && !this.#isPaused) {
      this.#isPaused = true;
      this.#source.pause();
    }
    if (this.#isDue) this.#wake();
  }

  /** The source's part: nothing follows, because of the error or because that was all. */
  finish(error?: Error): void {
    this.#ending ??= { error };
    this.#wake();
  }

  /**
   * The next chunk; `undefined` at the end. Rejects with what broke the body, after its last byte. Each
   * chunk of a blob costs a write and a wake-up of all who read it: only the first waits for nothing.
   */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.#isDue ? this.#gathering.take() : undefined;
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

  get #isDue(): boolean {
    return (
      this.#rest === undefined || this.#queuedBytes >= STEP_BYTES || this.#ending !== undefined
    );
  }

  #hand(chunk: Buffer): Buffer {
    this.#queuedBytes -= chunk.length;
    if (this.#isStream) this.#rest ??= setTimeout(() => this.#endRest(), STEP_MS).unref();
    if (this.#isPaused && this.#queuedBytes <= this.#mostBytes / 2) {
      this.#isPaused = false;
      this.#source.resume();
    }
    return chunk;
  }

  #endRest(): void {
    this.#rest = undefined;
    if (this.#queuedBytes > 0) this.#wake();
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

/** What is longer is weighed: most documents are far shorter, and wait for nothing. */
export const SMALL_BYTES = 64 * 1024;
/** Each takes 4 MiB at most, twice while its pieces are put together. */
const PLACES = 4;
/** By then it is kept or sent, or nobody knows of it any more. */
const LONGEST_MS = 60_000;

/**
 * The places for large documents in memory, such as manifests and pages of lists of 4 MiB, from the
 * first byte beyond 64 KiB until they are kept or read: four at a time, whoever asks for more. One that
 * nobody gives back is free again after a minute.
 */
export class LargeDocuments {
  readonly #places = new PQueue({ concurrency: PLACES });

  /** Resolves with what gives the place back, in the order of asking. */
  async enter(): Promise<() => void> {
    const entered = Promise.withResolvers<() => void>();
    void this.#places.add(async () => {
      const left = Promise.withResolvers<void>();
      const timer = setTimeout(left.resolve, LONGEST_MS).unref();
      entered.resolve(left.resolve);
      await left.promise.finally(() => clearTimeout(timer));
    });
    return entered.promise;
  }
}
