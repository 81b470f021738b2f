import { Agent, ProxyAgent, request, type Dispatcher } from 'undici';
import type { UpstreamConfig } from '../config/config.ts';
import type { Timing } from './timing.ts';
import { UpstreamError } from '../oci/upstream-error.ts';

export interface TransportRequest {
  readonly method: 'GET' | 'HEAD';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

export type TransportResponse = Pick<Dispatcher.ResponseData, 'statusCode' | 'headers' | 'body'>;

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
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), this.#timing.headersMs);
    const signals = wanted.signal ? [wanted.signal, deadline.signal] : [deadline.signal];
    try {
      return await request(wanted.url, {
        method: wanted.method,
        headers: wanted.headers,
        signal: AbortSignal.any(signals),
        dispatcher: this.#dispatcher,
      });
    } catch (error) {
      wanted.signal?.throwIfAborted();
      throw this.#fault(error, wanted.url, deadline.signal.aborted);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The body in chunks; a pause longer than the stall timeout ends it as a timeout. */
  async *chunks(body: TransportResponse['body'], url: URL): AsyncGenerator<Buffer> {
    const { stallMs } = this.#timing;
    const stalled = new UpstreamError(
      this.#upstream,
      'timeout',
      `no byte from ${url.host} for ${stallMs} ms`,
    );
    const iterator = body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const timer = setTimeout(() => body.destroy(stalled), stallMs);
        const next = await iterator.next().finally(() => clearTimeout(timer));
        if (next.done === true) return;
        yield next.value as Buffer;
      }
    } catch (error) {
      throw this.#fault(error, url, false);
    } finally {
      body.destroy();
    }
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  #fault(error: unknown, url: URL, late: boolean): UpstreamError {
    if (error instanceof UpstreamError) return error;
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).name;
    if (late) {
      const reason = `no answer from ${url.host} within ${this.#timing.headersMs} ms`;
      return new UpstreamError(this.#upstream, 'timeout', reason, { cause: error });
    }
    const timeout = code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT';
    const reason = `no connection to ${url.host} (${code})`;
    return new UpstreamError(this.#upstream, timeout ? 'timeout' : 'unreachable', reason, {
      cause: error,
    });
  }
}
