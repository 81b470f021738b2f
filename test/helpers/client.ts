/**
 * A client that sees what a container runtime sees, and tells it exactly:
 *
 *   get()         the whole answer, or a TruncatedError with what came before the body broke off
 *   open()        an answer that is read by hand: slowly, not at all, or left in the middle
 *   rawRequest()  bytes on a socket, for requests that no HTTP library would send
 *
 * Nothing follows redirects, retries, decodes or keeps connections (unless an agent is given).
 */
import { request as requestHttp } from 'node:http';
import type { Agent, IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface GetOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly agent?: Agent | false;
  /** Sent instead of the path of the URL, which is normalised (`..`, `%`). */
  readonly path?: string;
  readonly body?: Buffer | string;
  readonly signal?: AbortSignal;
  /** A socket in a folder, in the place of the host of the URL. */
  readonly socketPath?: string;
  readonly tls?: {
    readonly ca?: string | Buffer;
    readonly cert?: string | Buffer;
    readonly key?: string | Buffer;
  };
}

export interface ClientAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn as they came, duplicates included. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

/** The answer began and its body broke off before its end. */
export class TruncatedError extends Error {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body bytes that did arrive. */
  readonly received: Buffer;

  constructor(answer: Pick<ClientAnswer, 'status' | 'headers'>, received: Buffer, cause?: unknown) {
    const promised = answer.headers['content-length'] ?? 'an unknown number of';
    super(`body of ${promised} bytes broke off after ${received.length}`, { cause });
    this.name = 'TruncatedError';
    this.status = answer.status;
    this.headers = answer.headers;
    this.received = received;
  }
}

export async function get(url: string | URL, options: GetOptions = {}): Promise<ClientAnswer> {
  const response = await open(url, options);
  const body = await response.rest();
  const { status, headers, rawHeaders } = response;
  return { status, headers, rawHeaders, body };
}

/** Resolves with the headers; the body stays in the socket until it is read. */
export async function open(url: string | URL, options: GetOptions = {}): Promise<OpenResponse> {
  const target = new URL(url);
  const { method = 'GET', headers, agent = false, path, body, signal, socketPath, tls } = options;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const settings: RequestOptions = {
    method,
    agent,
    ...(headers && { headers: { ...headers } }),
    ...(path !== undefined && { path }),
    ...(signal && { signal }),
    ...(socketPath !== undefined && { socketPath }),
  };
  const request =
    target.protocol === 'https:'
      ? requestHttps(target, { ...settings, ...tls } as RequestOptions)
      : requestHttp(target, settings);
  request.on('response', resolve);
  request.on('error', reject);
  request.end(body);
  return new OpenResponse(await promise);
}

/**
 * An answer whose headers are here. Between calls nothing is taken from the socket, so the
 * sender soon meets back-pressure; the kernel still holds up to some megabytes on the way.
 */
export class OpenResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly #message: IncomingMessage;
  readonly #closed: Promise<void>;
  #isClosed = false;
  #error: unknown;
  #ahead: Buffer = Buffer.alloc(0);
  #taken = 0;

  constructor(message: IncomingMessage) {
    this.status = message.statusCode ?? 0;
    this.headers = message.headers;
    this.rawHeaders = message.rawHeaders;
    this.#message = message;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#closed = promise;
    message.on('error', (error) => (this.#error = error));
    message.once('close', () => {
      this.#isClosed = true;
      resolve();
    });
    message.pause();
  }

  /** The bytes handed out so far. */
  get taken(): number {
    return this.#taken;
  }

  /** Exactly `size` bytes, fewer only at the body's proper end. Rejects with a TruncatedError when the body breaks off first. */
  async read(size: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let missing = size;
    while (missing > 0) {
      const part = await this.#next(missing);
      if (part === undefined) break;
      parts.push(part);
      missing -= part.length;
    }
    const bytes = Buffer.concat(parts);
    if (missing > 0 && !this.#message.complete) {
      throw new TruncatedError(this, bytes, this.#error);
    }
    this.#taken += bytes.length;
    return bytes;
  }

  /** Everything from here to the end. Rejects like `read`; `received` then counts from here. */
  async rest(): Promise<Buffer> {
    return this.read(Infinity);
  }

  /** Stops taking bytes from the socket until the next `read`. */
  pause(): void {
    this.#message.pause();
  }

  /** Leaves: the connection is destroyed with the rest of the body unread. */
  destroy(): void {
    this.#message.destroy();
  }

  /** Resolves once the connection of this answer is over, however it ended. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  async #next(limit: number): Promise<Buffer | undefined> {
    while (this.#ahead.length === 0) {
      const chunk = this.#message.read() as Buffer | null;
      if (chunk) this.#ahead = chunk;
      else if (this.#isClosed || this.#message.readableEnded) return undefined;
      else await this.#moved();
    }
    const part = this.#ahead.subarray(0, Math.min(limit, this.#ahead.length));
    this.#ahead = this.#ahead.subarray(part.length);
    return part;
  }

  async #moved(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    for (const event of ['readable', 'end', 'close']) this.#message.once(event, wake);
    await promise;
    for (const event of ['readable', 'end', 'close']) this.#message.off(event, wake);
  }
}

/**
 * Writes `text` as it is and resolves with everything the peer sent until it closed the
 * connection: ask for `Connection: close`, or send what the peer cannot parse.
 */
export async function rawRequest(
  port: number,
  text: string | Buffer,
  {
    host = '127.0.0.1',
    giveUpMs = 20_000,
    ca,
  }: {
    host?: string;
    giveUpMs?: number;
    /** With TLS, to a server of this authority. */
    ca?: Buffer;
  } = {},
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const parts: Buffer[] = [];
  const socket = ca ? connectTls({ host, port, ca }) : connect({ host, port });
  const received = (): string => Buffer.concat(parts).toString('latin1');
  socket.setTimeout(giveUpMs, () =>
    socket.destroy(new Error(`the connection stayed open after: ${received()}`)),
  );
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
  });
  socket.on('close', () => resolve(received()));
  socket.write(text);
  return promise;
}
