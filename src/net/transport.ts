import type { IncomingHttpHeaders } from 'node:http';
import type { ConnectionOptions } from 'node:tls';
import { Agent, ProxyAgent, type Dispatcher } from 'undici';
import type { UpstreamConfig } from '../config/config.ts';
import { readSmall, ResponseBody } from './response-body.ts';
import { TEXTS } from './texts.ts';
import type { Timing } from './timing.ts';
import { UpstreamError, type UpstreamErrorOptions } from '../oci/upstream-error.ts';

export interface TransportRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Must be read, dumped or destroyed, to free the connection. */
export interface TransportResponse {
  readonly url: URL;
  readonly status: number;
  /** The first line of each. */
  readonly headers: Readonly<Record<string, string>>;
  /** Every `WWW-Authenticate`. */
  readonly challenges: readonly string[];
  /** Throws `UpstreamError` when the body breaks or stalls; leaving the loop early destroys it. */
  chunks(): AsyncGenerator<Buffer>;
  /** The whole body; `undefined` when it is longer than the limit (bytes). */
  read(limit: number): Promise<Buffer | undefined>;
  /** Reads the rest and forgets it, or closes the connection when that is much. Never rejects. */
  dump(): Promise<void>;
  /** Closes the connection unless the body is all here. */
  destroy(): void;
}

export type TlsOptions = Pick<ConnectionOptions, 'ca' | 'cert' | 'key'>;

/** What sends a request: the transport, or what stands in front of it. */
export type Sender = Pick<Transport, 'send'>;

/** No descriptor or memory left for a socket (socket(2), connect(2)). */
const SHORTAGES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

/** The one place that opens sockets to an upstream: one request, no retry, no redirect. */
export class Transport {
  readonly #upstream: string;
  readonly #timing: Timing;
  readonly #dispatcher: Dispatcher;

  constructor(config: Pick<UpstreamConfig, 'name' | 'tls' | 'proxy'>, timing: Timing) {
    this.#upstream = config.name;
    this.#timing = timing;
    const tls = { ...tlsOptionsOf(config), rejectUnauthorized: !config.tls.insecure };
    const connect = { ...tls, timeout: timing.connectMs };
    // The timers below are exact and cover retries' needs; undici's own are switched off.
    const options = { headersTimeout: 0, bodyTimeout: 0, allowH2: false };
    this.#dispatcher =
      config.proxy === undefined
        ? new Agent({ ...options, connect })
        : new ProxyAgent({ ...options, uri: config.proxy, requestTls: tls, connect });
  }

  /** Resolves when the headers are here. */
  async send(wanted: TransportRequest): Promise<TransportResponse> {
    const { headersMs } = this.#timing;
    const { host } = wanted.url;
    const late = this.#error('timeout', TEXTS.noAnswer({ host, ms: headersMs }));
    const exchange = new Exchange();
    const timer = setTimeout(() => exchange.abort(late), headersMs);
    const { signal } = wanted;
    const leave = (): void => exchange.abort(signal?.reason as Error);
    signal?.addEventListener('abort', leave, { once: true });
    void exchange.ended.then(() => signal?.removeEventListener('abort', leave));
    try {
      signal?.throwIfAborted();
      exchange.dispatch(this.#dispatcher, wanted);
      return this.#respond(wanted.url, await exchange.response);
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#fault(error, wanted.url);
    } finally {
      clearTimeout(timer);
    }
  }

  #respond(url: URL, { status, headers, body }: Answer): TransportResponse {
    const lines = (name: string): string[] => [headers[name] ?? []].flat();
    const chunks = (): AsyncGenerator<Buffer> => this.#chunks(body, url);
    return {
      url,
      status,
      headers: Object.fromEntries(Object.keys(headers).map((name) => [name, lines(name)[0] ?? ''])),
      challenges: lines('www-authenticate'),
      chunks,
      read: async (limit) => readSmall(chunks(), limit),
      dump: async () => body.dump(),
      destroy: () => body.destroy(),
    };
  }

  /** A pause longer than the stall timeout ends it as a timeout. */
  async *#chunks(body: ResponseBody, url: URL): AsyncGenerator<Buffer> {
    const { stallMs } = this.#timing;
    const stalled = this.#error('timeout', TEXTS.noByte({ host: url.host, ms: stallMs }));
    try {
      for (;;) {
        const timer = setTimeout(() => body.destroy(stalled), stallMs);
        const chunk = await body.next().finally(() => clearTimeout(timer));
        if (!chunk) return;
        yield chunk;
      }
    } catch (error) {
      throw this.#fault(error, url);
    } finally {
      body.destroy();
    }
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  #fault(error: unknown, url: URL): UpstreamError {
    if (error instanceof UpstreamError) return error;
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).name;
    const isTimeout = code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT';
    const reason = TEXTS.noConnection({ host: url.host, code });
    const isOurs = isOwnShortage(error);
    return this.#error(isTimeout ? 'timeout' : 'unreachable', reason, { cause: error, isOurs });
  }

  #error(
    fault: UpstreamError['fault'],
    reason: string,
    options: UpstreamErrorOptions = {},
  ): UpstreamError {
    return new UpstreamError(this.#upstream, fault, reason, options);
  }
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: ResponseBody;
}

/** One request and its answer as undici's handler interface tells of them. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #response = Promise.withResolvers<Answer>();
  readonly #ended = Promise.withResolvers<void>();
  #controller: Dispatcher.DispatchController | undefined;
  #body: ResponseBody | undefined;
  #aborted: Error | undefined;

  get response(): Promise<Answer> {
    return this.#response.promise;
  }

  /** Never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  dispatch(dispatcher: Dispatcher, { method, url, headers, body }: TransportRequest): void {
    const path = `${url.pathname}${url.search}`;
    const origin = url.origin;
    dispatcher.dispatch(
      { origin, path, method, headers: { ...headers }, ...(body !== undefined && { body }) },
      this,
    );
  }

  /** At once for whoever waits, although a connection in the making can only be closed later. */
  abort(reason: Error): void {
    this.#aborted ??= reason;
    this.#fail(reason);
    this.#controller?.abort(reason);
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
    this.#body = new ResponseBody(controller);
    this.#response.resolve({ status, headers, body: this.#body });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body?.push(chunk);
  }

  onResponseEnd(): void {
    this.#body?.finish();
    this.#ended.resolve();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error);
  }

  #fail(error: Error): void {
    this.#response.reject(error);
    this.#body?.finish(error);
    this.#ended.resolve();
  }
}

/**
 * Whether a connection failed for want of something on this machine, which says nothing about who
 * was called. Of several addresses of a host each one must have failed so. No free port and no
 * address of IPv6 are the same code to Linux (EADDRNOTAVAIL), which therefore is none of these.
 */
export function isOwnShortage(error: unknown): boolean {
  if (error instanceof AggregateError) {
    return error.errors.length > 0 && error.errors.every(isOwnShortage);
  }
  return SHORTAGES.has((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}

/** The value of `Authorization` for a name and a password. */
export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** Whom a TLS connection trusts, and as whom it is made. */
export function tlsOptionsOf({ tls: { ca, cert, key } }: Pick<UpstreamConfig, 'tls'>): TlsOptions {
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}
