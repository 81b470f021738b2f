import { setTimeout as sleep } from 'node:timers/promises';
import type { UpstreamConfig } from '../config/config.ts';
import type { Metrics } from '../observe/metrics.ts';
import { essence } from '../oci/media-types.ts';
import { Authenticator } from './authenticator.ts';
import { followRedirect, isRedirect, MAX_REDIRECTS } from './redirect.ts';
import { readSmall } from './small-body.ts';
import { parseRetryAfter } from './retry-after.ts';
import { backoff, type Timing } from './timing.ts';
import { Transport, type TransportResponse } from './transport.ts';
import { UpstreamError } from '../oci/upstream-error.ts';

/** The kinds of upstream requests that metrics tell apart. */
export type RequestKind = 'manifest' | 'blob' | 'tags' | 'referrers';

export interface RegistryRequest {
  readonly kind: RequestKind;
  readonly method: 'GET' | 'HEAD';
  /** Below `/v2/`, with its query. */
  readonly path: string;
  /** As in the token specification: `repository:library/nginx:pull`. */
  readonly scope: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** False: the caller repeats by itself what failed. */
  readonly retry?: boolean;
}

export interface RegistryResponse {
  /** 200, 206, 404, and 405 to a HEAD; everything else is thrown. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly url: URL;
  /** Must be read, or the response discarded, to free the connection. */
  readonly chunks: AsyncIterable<Buffer>;
  discard(): void;
}

export interface SmallResponse extends Omit<RegistryResponse, 'chunks' | 'discard'> {
  /** `undefined` when it is longer than was allowed, and with a 404. */
  readonly bytes: Buffer | undefined;
}

export interface RegistryClientParts {
  readonly config: UpstreamConfig;
  readonly timing: Timing;
  readonly metrics: Metrics;
  readonly userAgent: string;
  readonly now?: () => number;
}

const MAX_ATTEMPTS = 3;

/**
 * One request to the registry with all that belongs to it: credentials, redirects by hand, another
 * attempt when the registry or the way to it fails, and a fault that says what is wrong.
 */
export class RegistryClient {
  readonly #parts: RegistryClientParts;
  readonly #base: URL;
  readonly #transport: Transport;
  readonly #authenticator: Authenticator;

  constructor(parts: RegistryClientParts) {
    const { config, timing, now } = parts;
    this.#parts = parts;
    this.#base = new URL(`${config.url}/v2/`);
    this.#transport = new Transport(config, timing);
    this.#authenticator = new Authenticator({
      upstream: config.name,
      registry: this.#base,
      credentials: config.credentials,
      transport: this.#transport,
      now,
    });
  }

  get base(): URL {
    return this.#base;
  }

  /** Resolves with the headers. */
  async send(wanted: RegistryRequest): Promise<RegistryResponse> {
    return this.#repeat(wanted, async () => this.#attempt(wanted));
  }

  /** Resolves with the whole of a small body; one that breaks off is asked for again. */
  async read(wanted: RegistryRequest, maxBytes: number): Promise<SmallResponse> {
    return this.#repeat(wanted, async () => {
      const { status, headers, url, chunks } = await this.#attempt(wanted);
      const bytes = status === 404 ? undefined : await readSmall(chunks, maxBytes);
      return { status, headers, url, bytes };
    });
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #repeat<Value>(wanted: RegistryRequest, attempt: () => Promise<Value>): Promise<Value> {
    const { timing } = this.#parts;
    const lastStart = performance.now() + timing.attemptsMs;
    for (let failures = 0; ; failures += 1) {
      try {
        return await attempt();
      } catch (error) {
        const pause = backoff(timing.retryMs, failures);
        const final = wanted.retry === false || failures + 1 === MAX_ATTEMPTS;
        const late = performance.now() + pause > lastStart;
        if (final || late || !isPassing(error)) throw error;
        await sleep(pause, undefined, { signal: wanted.signal });
      }
    }
  }

  async #attempt(wanted: RegistryRequest): Promise<RegistryResponse> {
    const { metrics, config } = this.#parts;
    const labels = { upstream: config.name, kind: wanted.kind };
    const started = performance.now();
    try {
      const response = await this.#authorized(wanted);
      metrics.upstreamRequests.inc({ ...labels, code: String(response.status) });
      metrics.upstreamUp.set({ upstream: config.name }, 1);
      return response;
    } catch (error) {
      if (error instanceof UpstreamError) {
        metrics.upstreamRequests.inc({ ...labels, code: String(error.status ?? 'error') });
        const isSilent = error.fault === 'unreachable' || error.fault === 'timeout';
        metrics.upstreamUp.set({ upstream: config.name }, isSilent ? 0 : 1);
      }
      throw error;
    } finally {
      metrics.upstreamRequestSeconds.observe(labels, (performance.now() - started) / 1000);
    }
  }

  async #authorized(wanted: RegistryRequest): Promise<RegistryResponse> {
    const first = await this.#authenticator.authorize(wanted.scope);
    let { response, url } = await this.#follow(wanted, first);
    // What another host asks for is neither this registry's login nor any credential's business.
    if (response.statusCode === 401 && url.origin === this.#base.origin) {
      const header = response.headers['www-authenticate'];
      await response.body.dump();
      const second = await this.#authenticator.renew(header, wanted.scope, first);
      ({ response, url } = await this.#follow(wanted, second));
    }
    return this.#judge(wanted, response, url);
  }

  /** Any path may redirect; `Authorization` stays on the registry's own origin. */
  async #follow(
    wanted: RegistryRequest,
    authorization: string | undefined,
  ): Promise<{ response: TransportResponse; url: URL }> {
    let url = new URL(wanted.path, this.#base);
    for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
      const ownOrigin = url.origin === this.#base.origin;
      const response = await this.#transport.send({
        method: wanted.method,
        url,
        signal: wanted.signal,
        headers: {
          'user-agent': this.#parts.userAgent,
          'accept-encoding': 'identity',
          ...wanted.headers,
          ...(ownOrigin && authorization !== undefined && { authorization }),
        },
      });
      this.#noteRateLimit(response.headers);
      if (!isRedirect(response.statusCode)) return { response, url };
      await response.body.dump();
      const next = followRedirect(url, single(response.headers['location']));
      if (typeof next === 'string') throw this.#error('bad-response', next, response);
      url = next;
    }
    throw this.#error('bad-response', `more than ${MAX_REDIRECTS} redirects`);
  }

  async #judge(
    wanted: RegistryRequest,
    response: TransportResponse,
    url: URL,
  ): Promise<RegistryResponse> {
    const { statusCode: status, body } = response;
    const headers = singles(response.headers);
    const encoding = headers['content-encoding'] ?? 'identity';
    const isContent = status === 200 || status === 206;
    // A portal's or a login's page with 200 is no proof that a registry has anything.
    const isPage = isContent && essence(headers['content-type']) === 'text/html';
    if (isContent && !isPage && encoding === 'identity' && wanted.method === 'GET') {
      const discard = (): void => body.destroy();
      return { status, headers, url, discard, chunks: this.#counted(response, url) };
    }
    if (isPage) body.destroy();
    else await body.dump();
    if (isPage) throw this.#error('bad-response', `${url.host} sent an HTML page`, response);
    if (isContent && encoding !== 'identity') {
      throw this.#error('bad-response', `${url.host} encoded the content as ${encoding}`, response);
    }
    const isHeadRefused = status === 405 && wanted.method === 'HEAD';
    if (isContent || status === 404 || isHeadRefused) {
      return { status, headers, url, discard: () => {}, chunks: nothing() };
    }
    throw this.#statusError(response, url);
  }

  #statusError(response: TransportResponse, url: URL): UpstreamError {
    const { statusCode: status } = response;
    const login = this.#parts.config.credentials
      ? 'with the configured credentials'
      : 'anonymously';
    if (status === 401) {
      return this.#error('unauthorized', `${url.host} refused access ${login} (401)`, response);
    }
    if (status === 403 && url.origin !== this.#base.origin) {
      // The registry will sign another address.
      return this.#error('failing', `${url.host} refused the registry's redirect (403)`, response);
    }
    if (status === 403) {
      return this.#error('denied', `${url.host} denied access ${login} (403)`, response);
    }
    if (status === 429) {
      return this.#error('rate-limited', `${url.host} limits the rate of requests (429)`, response);
    }
    const fault = status >= 500 || status === 408 ? 'failing' : 'bad-response';
    return this.#error(fault, `${url.host} answered ${status}`, response);
  }

  async *#counted(response: TransportResponse, url: URL): AsyncGenerator<Buffer> {
    const bytes = this.#parts.metrics.upstreamBytes.labels({ upstream: this.#parts.config.name });
    for await (const chunk of this.#transport.chunks(response.body, url)) {
      bytes.inc(chunk.length);
      yield chunk;
    }
  }

  /** `ratelimit-limit: 100;w=21600`, as Docker Hub sends it with every manifest. */
  #noteRateLimit(headers: TransportResponse['headers']): void {
    const { metrics, config } = this.#parts;
    const label = { upstream: config.name };
    const limit = parseRateLimit(single(headers['ratelimit-limit']));
    const remaining = parseRateLimit(single(headers['ratelimit-remaining']));
    if (limit) {
      metrics.rateLimitLimit.set(label, limit.count);
      if (limit.windowSeconds !== undefined) {
        metrics.rateLimitWindowSeconds.set(label, limit.windowSeconds);
      }
    }
    if (remaining) metrics.rateLimitRemaining.set(label, remaining.count);
  }

  #error(
    fault: UpstreamError['fault'],
    reason: string,
    response?: TransportResponse,
  ): UpstreamError {
    const retryAfterMs = response && parseRetryAfter(single(response.headers['retry-after']));
    return new UpstreamError(this.#parts.config.name, fault, reason, {
      ...(response && { status: response.statusCode }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }
}

/** Worth another attempt soon: the next one may well succeed. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof UpstreamError)) return false;
  return error.fault === 'unreachable' || error.fault === 'timeout' || error.fault === 'failing';
}

function parseRateLimit(
  value: string | undefined,
): { count: number; windowSeconds: number | undefined } | undefined {
  const match = /^(\d{1,15})(?:.*;\s*w=(\d{1,15}))?/.exec(value ?? '');
  if (!match) return undefined;
  return { count: Number(match[1]), windowSeconds: match[2] ? Number(match[2]) : undefined };
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function singles(headers: TransportResponse['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => {
      const first = single(value);
      return first === undefined ? [] : [[name, first]];
    }),
  );
}

async function* nothing(): AsyncGenerator<Buffer> {}
