import type { IncomingHttpHeaders } from 'node:http';
import { Agent, ProxyAgent, type Dispatcher } from 'undici';
import type { UpstreamConfig } from '../config/config.ts';
import { isOwnShortage } from './own-shortage.ts';
import { ResponseBody } from './response-body.ts';
import type { Timing } from './timing.ts';
import { UpstreamError, type UpstreamErrorOptions } from '../oci/upstream-error.ts';

export interface TransportRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal | undefined;
}

export interface TransportResponse {
  readonly statusCode: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: ResponseBody;
}

/** What those that answer challenges need of the transport. */
export type Sender = Pick<Transport, 'send' | 'chunks'>;

/** The one place that opens sockets to an upstream: one request, no retry, no redirect. */
export class Transport {
  readonly #upstream: string;
  readonly #timing: Timing;
  readonly #dispatcher: Dispatcher;

  constructor(config: Pick<UpstreamConfig, 'name' | 'tls' | 'proxy'>, timing: Timing) {
    this.#upstream = config.name;
    this.#timing = timing;
    const { ca, cert, key, insecure } = config.tls;
    const tls = {
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      rejectUnauthorized: !insecure,
    };
    const connect = { ...tls, timeout: timing.connectMs };
    // The timers below are exact and cover retries' needs; undici's own are switched off.
    const options = { headersTimeout: 0, bodyTimeout: 0, allowH2: false };
    this.#dispatcher =
      config.proxy === undefined
        ? new Agent({ ...options, connect })
        : new ProxyAgent({ ...options, uri: config.proxy, requestTls: tls, connect });
  }

  /** Resolves when the headers are here. The body must be read, dumped or destroyed. */
  async send(wanted: TransportRequest): Promise<TransportResponse> {
    const { headersMs } = this.#timing;
    const { host } = wanted.url;
    const late = this.#error('timeout', `no answer from ${host} within ${headersMs} ms`);
    const exchange = new Exchange();
    const timer = setTimeout(() => exchange.abort(late), headersMs);
    const { signal } = wanted;
    const leave = (): void => exchange.abort(signal?.reason as Error);
    signal?.addEventListener('abort', leave, { once: true });
    void exchange.ended.then(() => signal?.removeEventListener('abort', leave));
    try {
      signal?.throwIfAborted();
      exchange.dispatch(this.#dispatcher, wanted);
      return await exchange.response;
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#fault(error, wanted.url);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The body in chunks; a pause longer than the stall timeout ends it as a timeout. */
  async *chunks(body: ResponseBody, url: URL): AsyncGenerator<Buffer> {
    const { stallMs } = this.#timing;
    const stalled = this.#error('timeout', `no byte from ${url.host} for ${stallMs} ms`);
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
    const reason = `no connection to ${url.host} (${code})`;
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

/** One request and its answer as undici's handler interface tells of them. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #response = Promise.withResolvers<TransportResponse>();
  readonly #ended = Promise.withResolvers<void>();
  #controller: Dispatcher.DispatchController | undefined;
  #body: ResponseBody | undefined;
  #aborted: Error | undefined;

  get response(): Promise<TransportResponse> {
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
    statusCode: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (statusCode < 200) return;
    this.#body = new ResponseBody(controller);
    this.#response.resolve({ statusCode, headers, body: this.#body });
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
