import type { UpstreamConfig } from '../config/config.ts';
import type { Deadline } from '../net/deadline.ts';
import type { OwnListeners } from '../net/own-listeners.ts';
import type { Timing } from '../net/timing.ts';
import {
  Transport,
  type Sender,
  type TransportRequest,
  type TransportResponse,
} from '../net/transport.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Via } from '../net/via.ts';
import type { Clock } from '../time/clock.ts';
import { Breaker, type Outage } from './breaker.ts';
import type { Demand } from './demand.ts';
import { followRedirect, isRedirect, MAX_REDIRECTS } from './redirect.ts';
import { TEXTS } from './texts.ts';

/** The kinds of upstream requests that metrics tell apart. */
export type RequestKind = 'manifest' | 'blob' | 'tags' | 'referrers' | 'catalog';

export interface RegistryRequest {
  readonly kind: RequestKind;
  readonly method: 'GET' | 'HEAD';
  /** Below `/v2/`, with its query. */
  readonly path: string;
  /** As in the token specification: `repository:library/nginx:pull`. */
  readonly scope: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly demand: Demand;
  /** Of the whole question; each request has one of its own without it. */
  readonly deadline?: Deadline;
  /** A blob: its body is no part of the exchange, and the caller repeats by itself what failed. */
  readonly isStream?: boolean;
}

/** The answer to a request after all redirects, and what the request was made with. */
export interface RegistryAnswer {
  readonly response: TransportResponse;
  readonly authorization: string | undefined;
  /** It comes from the registry itself, not from a host that it redirects to. */
  readonly isOwn: boolean;
}

export interface RegistrySenderParts {
  readonly config: UpstreamConfig;
  readonly timing: Timing;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly userAgent: string;
  readonly via: Via;
  readonly clock: Clock;
  /** None in a command, which listens nowhere. */
  readonly ownListeners?: OwnListeners;
}

/** Sends requests to one registry and follows its redirects, unless the registry is down. */
export class RegistrySender implements Sender {
  /** The registry's `/v2/`. */
  readonly base: URL;
  readonly #parts: RegistrySenderParts;
  readonly #transport: Transport;
  readonly #breaker: Breaker;

  constructor(parts: RegistrySenderParts) {
    const { config, timing, metrics, log, clock } = parts;
    this.#parts = parts;
    this.base = new URL(`${config.url}/v2/`);
    this.#transport = new Transport(config, timing);
    const pauseMs = timing.breakerMs;
    this.#breaker = new Breaker({ upstream: config.name, metrics, log, pauseMs, clock });
  }

  /** `undefined` while the registry answers. */
  get outage(): Outage | undefined {
    return this.#breaker.outage;
  }

  /** Of one question to the registry. */
  startDeadline(): Deadline {
    return this.#transport.startDeadline(this.base.host);
  }

  /** A request that belongs to the registry's login. */
  async send(request: TransportRequest): Promise<TransportResponse> {
    return this.#breaker.run(request.url.host, async () => this.#transport.send(request));
  }

  /** Any path may redirect; `Authorization` stays on the registry's own origin. */
  async follow(
    wanted: RegistryRequest,
    authorization: string | undefined,
  ): Promise<RegistryAnswer> {
    let url = this.#address(wanted.path);
    for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
      const isOwn = url.origin === this.base.origin;
      const response = await this.#ask(wanted, url, authorization);
      if (!isRedirect(response.status)) return { response, authorization, isOwn };
      await response.dump();
      const next = followRedirect(url, response.headers['location']);
      if (typeof next === 'string') throw this.#badRedirect(next, response.status);
      url = next;
    }
    throw this.#badRedirect(TEXTS.tooManyRedirects({ most: MAX_REDIRECTS }));
  }

  /** The same by GET, from where the registry answered it. */
  async repeatByGet(
    wanted: RegistryRequest,
    { response: { url }, authorization }: RegistryAnswer,
  ): Promise<TransportResponse> {
    const headers = { accept: 'application/json' };
    return this.#ask({ ...wanted, method: 'GET', headers, isStream: false }, url, authorization);
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  #address(path: string): URL {
    const { namespace } = this.#parts.config;
    const url = new URL(path, this.base);
    if (namespace !== undefined) url.searchParams.set('ns', namespace);
    return url;
  }

  async #ask(
    { method, headers, demand: { signal }, deadline, isStream = false }: RegistryRequest,
    url: URL,
    authorization: string | undefined,
  ): Promise<TransportResponse> {
    const { userAgent, via } = this.#parts;
    const isOwn = url.origin === this.base.origin;
    const request: TransportRequest = {
      method,
      url,
      signal,
      deadline,
      isStream,
      headers: {
        'user-agent': userAgent,
        'accept-encoding': 'identity',
        ...headers,
        ...(isOwn && { via: via.header }),
        ...(isOwn && authorization !== undefined && { authorization }),
      },
    };
    // A storage host that is down says nothing about the registry.
    return isOwn ? this.send(request) : this.#transport.send(request);
  }

  #badRedirect(reason: string, status?: number): UpstreamError {
    return new UpstreamError(this.#parts.config.name, 'bad-response', reason, { status });
  }
}
