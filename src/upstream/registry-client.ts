import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../time/clock.ts';
import type { UpstreamConfig } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Via } from '../oci/via.ts';
import type { AccountStatus } from '../api/status-api.ts';
import { Accounts, type Account } from './account.ts';
import { Bandwidth } from './bandwidth.ts';
import { Breaker, type Outage } from './breaker.ts';
import { openCredentials } from './credentials/open-credentials.ts';
import type { Demand } from './demand.ts';
import { Login } from './login.ts';
import type { Cost } from './quota.ts';
import { followRedirect, isRedirect, MAX_REDIRECTS } from './redirect.ts';
import { findFault, parseRetryAfter, single, singles } from './registry-answer.ts';
import { readSmall } from '../net/small-body.ts';
import { pausesOf, type Timing } from '../net/timing.ts';
import { Transport, type Sender, type TransportResponse } from '../net/transport.ts';

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
  readonly log: Log;
  readonly userAgent: string;
  readonly via: Via;
  readonly clock: Clock;
}

/** The last answer to a request, and what it was asked with. */
interface Authorized {
  readonly response: TransportResponse;
  readonly url: URL;
  readonly authorization: string | undefined;
}

const MAX_ATTEMPTS = 3;
/** A token that expired, a wider scope and a newer credential together, and one to spare. */
const MAX_LOGINS = 4;

/**
 * One request to the registry with all that belongs to it: an account with quota left, its
 * credentials, redirects by hand, another attempt when the registry or the way to it fails, and a
 * fault that says what is wrong.
 */
export class RegistryClient {
  readonly #parts: RegistryClientParts;
  readonly #base: URL;
  readonly #transport: Transport;
  readonly #breaker: Breaker;
  readonly #accounts: Accounts;
  readonly #bandwidth: Bandwidth | undefined;

  constructor(parts: RegistryClientParts) {
    const { config, timing, metrics, log, clock } = parts;
    this.#parts = parts;
    this.#base = new URL(`${config.url}/v2/`);
    this.#transport = new Transport(config, timing);
    this.#breaker = new Breaker({
      upstream: config.name,
      metrics,
      log,
      pauseMs: timing.breakerMs,
      clock,
    });
    const sender: Sender = {
      send: async (request) =>
        this.#breaker.run(request.url.host, async () => this.#transport.send(request)),
      chunks: (body, url) => this.#transport.chunks(body, url),
    };
    const context = { upstream: config.name, registry: this.#base, sender, clock };
    this.#accounts = new Accounts({
      ...context,
      credentials: config.credentials.map((entry) => openCredentials(entry, context)),
    });
    this.#bandwidth =
      config.bytesPerSecond === undefined ? undefined : new Bandwidth(config.bytesPerSecond);
  }

  get base(): URL {
    return this.#base;
  }

  /** `undefined` while the registry answers. */
  get outage(): Outage | undefined {
    return this.#breaker.outage;
  }

  get accounts(): AccountStatus[] {
    return this.#accounts.status;
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
    this.#bandwidth?.close();
    await this.#transport.close();
  }

  async #repeat<Value>(wanted: RegistryRequest, attempt: () => Promise<Value>): Promise<Value> {
    const { timing } = this.#parts;
    const pauses = pausesOf(timing);
    const lastStart = performance.now() + timing.attemptsMs;
    for (let attempts = 1; ; attempts += 1) {
      try {
        return await attempt();
      } catch (error) {
        const pause = pauses.after(attempts);
        const final = wanted.retry === false || attempts === MAX_ATTEMPTS;
        const late = performance.now() + pause > lastStart;
        if (final || late || !isPassing(error)) throw error;
        await sleep(pause, undefined, { signal: wanted.demand.signal });
      }
    }
  }

  async #attempt(wanted: RegistryRequest): Promise<RegistryResponse> {
    const { metrics, config } = this.#parts;
    const labels = { upstream: config.name, kind: wanted.kind };
    const started = performance.now();
    const count = (code: string): void => {
      metrics.upstreamRequests.inc({ ...labels, code });
      metrics.upstreamRequestSeconds.observe(labels, (performance.now() - started) / 1000);
    };
    try {
      const response = await this.#inTurn(wanted);
      count(String(response.status));
      return response;
    } catch (error) {
      if (error instanceof UpstreamError && !error.isUnasked)
        count(String(error.status ?? 'error'));
      throw error;
    }
  }

  /** By the account that has most left, and by the next one when that is at its limit after all. */
  async #inTurn(wanted: RegistryRequest): Promise<RegistryResponse> {
    const cost: Cost = {
      isCounted: wanted.kind === 'manifest' && wanted.method === 'GET',
      demand: wanted.demand,
    };
    let refusal: UpstreamError | undefined;
    for (const account of this.#accounts.inOrder(cost)) {
      const answer = await this.#authorized(wanted, account, cost);
      const { response, url } = answer;
      const fault = await findFault(
        { ...answer, method: wanted.method },
        {
          upstream: this.#parts.config.name,
          registry: this.#base,
          login: account.label === 'anonymous' ? 'anonymously' : 'with the configured credentials',
          sender: this.#transport,
          waitMs: () => account.quota.waitMs(cost),
          readWords: async () => this.#readWords(wanted, answer),
          clock: this.#parts.clock,
        },
      );
      if (!fault) return this.#accept(wanted, response, url);
      // Another account's limit is another one; a storage host's is no account's.
      if (fault.fault !== 'rate-limited' || url.origin !== this.#base.origin) throw fault;
      if ((fault.retryAfterMs ?? 0) < (refusal?.retryAfterMs ?? Infinity)) refusal = fault;
    }
    // The registry's own words say it better.
    throw refusal ?? this.#accounts.refusal(cost);
  }

  /** A refused HEAD has no body to say why: the GET that is refused likewise costs no pull. */
  async #readWords(
    { demand, kind, path, scope }: RegistryRequest,
    { url, authorization }: Authorized,
  ): Promise<TransportResponse> {
    const headers = { accept: 'application/json' };
    const wanted = { kind, method: 'GET', path, scope, headers, demand } as const;
    return this.#ask(wanted, url, authorization);
  }

  async #authorized(
    wanted: RegistryRequest,
    { authenticator, quota }: Account,
    cost: Cost,
  ): Promise<Authorized> {
    const login = new Login(authenticator, wanted.scope);
    let authorization = await login.begin();
    for (let tries = 1; ; tries += 1) {
      const answer = { ...(await this.#follow(wanted, authorization)), authorization };
      const { statusCode, headers } = answer.response;
      // What another host asks for is neither this registry's login nor any credential's business.
      if (answer.url.origin !== this.#base.origin) return answer;
      if (statusCode === 429) {
        const retryAfterMs = parseRetryAfter(single(headers['retry-after']), this.#parts.clock);
        quota.refuse(headers, retryAfterMs, cost);
      } else quota.observe(headers);
      this.#accounts.show(this.#parts.metrics);
      if ((statusCode !== 401 && statusCode !== 403) || tries === MAX_LOGINS) return answer;
      authorization = await login.next(answer.response).catch(async (error: unknown) => {
        await answer.response.body.dump();
        throw error;
      });
      if (authorization === undefined) return answer;
      await answer.response.body.dump();
    }
  }

  /** Any path may redirect; `Authorization` stays on the registry's own origin. */
  async #follow(
    wanted: RegistryRequest,
    authorization: string | undefined,
  ): Promise<{ response: TransportResponse; url: URL }> {
    let url = this.#address(wanted.path);
    for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
      const response = await this.#ask(wanted, url, authorization);
      if (!isRedirect(response.statusCode)) return { response, url };
      await response.body.dump();
      const next = followRedirect(url, single(response.headers['location']));
      if (typeof next === 'string') throw this.#badRedirect(next, response.statusCode);
      url = next;
    }
    throw this.#badRedirect(`more than ${MAX_REDIRECTS} redirects`);
  }

  #address(path: string): URL {
    const { namespace } = this.#parts.config;
    const url = new URL(path, this.#base);
    if (namespace !== undefined) url.searchParams.set('ns', namespace);
    return url;
  }

  async #ask(
    { method, headers, demand: { signal } }: RegistryRequest,
    url: URL,
    authorization: string | undefined,
  ): Promise<TransportResponse> {
    const { userAgent, via } = this.#parts;
    const common = { 'user-agent': userAgent, 'accept-encoding': 'identity', ...headers };
    // A storage host that is down says nothing about the registry.
    if (url.origin !== this.#base.origin) {
      return this.#transport.send({ method, url, signal, headers: common });
    }
    const own = {
      ...common,
      via: via.header,
      ...(authorization !== undefined && { authorization }),
    };
    return this.#breaker.run(url.host, async () =>
      this.#transport.send({ method, url, signal, headers: own }),
    );
  }

  async #accept(
    wanted: RegistryRequest,
    response: TransportResponse,
    url: URL,
  ): Promise<RegistryResponse> {
    const { statusCode: status, body } = response;
    const headers = singles(response.headers);
    if (wanted.method === 'GET' && status !== 404) {
      const chunks = this.#counted(wanted, response, url);
      return { status, headers, url, chunks, discard: () => body.destroy() };
    }
    await body.dump();
    return { status, headers, url, chunks: nothing(), discard: () => {} };
  }

  async *#counted(
    { demand }: RegistryRequest,
    response: TransportResponse,
    url: URL,
  ): AsyncGenerator<Buffer> {
    const bytes = this.#parts.metrics.upstreamBytes.labels({ upstream: this.#parts.config.name });
    for await (const chunk of this.#transport.chunks(response.body, url)) {
      bytes.inc(chunk.length);
      await this.#bandwidth?.take(chunk.length, demand);
      yield chunk;
    }
  }

  #badRedirect(reason: string, status?: number): UpstreamError {
    return new UpstreamError(this.#parts.config.name, 'bad-response', reason, {
      ...(status !== undefined && { status }),
    });
  }
}

/** Worth another attempt soon: the next one may well succeed. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof UpstreamError) || error.isUnasked) return false;
  return error.fault === 'unreachable' || error.fault === 'timeout' || error.fault === 'failing';
}

async function* nothing(): AsyncGenerator<Buffer> {}
