import type { LookupFunction } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { UpstreamConfig } from '../config/config.ts';
import type { HostList } from '../config/host-list.ts';
import type { Authorities } from '../net/authorities.ts';
import type { Deadline } from '../net/deadline.ts';
import { WrittenUrl } from '../net/exchange.ts';
import type { OwnListeners } from '../net/address-class.ts';
import type { Timing } from '../net/timing.ts';
import {
  Transport,
  type Sender,
  type TransportRequest,
  type TransportResponse,
} from '../net/transport.ts';
import type { Log } from '../observe/log.ts';
import type { CONTENT_KINDS } from '../observe/declarations.ts';
import type { Metrics } from '../observe/metrics.ts';
import { Traces } from '../observe/traces.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Via } from '../net/via.ts';
import type { Clock } from '../time/clock.ts';
import { certificateEnds } from './certificate-ends.ts';
import { Breaker, type BreakerParts, type UpstreamProblem } from './breaker.ts';
import type { Demand } from './demand.ts';
import type { RedirectLogins } from './redirect-logins.ts';
import type { Secrets } from './secrets.ts';
import { TEXTS } from './texts.ts';

/** The kinds of upstream requests that metrics tell apart. */
export type RegistryRequestKind = (typeof CONTENT_KINDS)[number];

export interface RegistryRequest {
  readonly kind: RegistryRequestKind;
  readonly method: 'GET' | 'HEAD';
  /** Below `/v2/`, with its query. */
  readonly path: string;
  /** As in the token specification: `repository:library/nginx:pull`. */
  readonly scope: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly demand: Demand;
  /** The time limit of all requests together; without it each request has one of its own. */
  readonly deadline?: Deadline;
  /** A shorter time limit than that of other exchanges. */
  readonly withinMs?: number;
  /** How often it may be sent; three times unless given. */
  readonly attempts?: number;
  /** An answer that calls itself a page is passed on, with the fault that it is unless its bytes are right. */
  readonly takesPages?: boolean;
  /** A blob: its body is no part of the exchange, and the caller repeats by itself what failed. */
  readonly isStream?: boolean;
}

/** The answer to a request after all redirects, and what the request was made with. */
export interface RegistryAnswer {
  readonly response: TransportResponse;
  readonly authorization: string | undefined;
  /** It comes from the registry itself, not from a host that it redirects to. */
  readonly isOwn: boolean;
  /** The url to write for a registry that says that it is for ever at another one. */
  readonly movedTo: string | undefined;
}

export interface RegistrySenderParts {
  readonly config: UpstreamConfig;
  readonly timing: Timing;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly userAgent: string;
  readonly via: Via;
  readonly clock: Clock;
  readonly authorities: Authorities;
  /** None in a command, which listens nowhere. */
  readonly ownListeners?: OwnListeners;
  /** How names become addresses; the system's way unless given. */
  readonly lookup?: LookupFunction | undefined;
}

/** What stands for a repository where a request is about none. */
const LOGIN = 'login';
const MAX_TOKEN_SERVICES = 8;

/** Sends requests to one registry and follows its redirects, unless the registry is down. */
export class RegistrySender implements Sender {
  /** The registry's `/v2/`. */
  readonly base: URL;
  readonly #parts: RegistrySenderParts;
  readonly #secrets: Secrets;
  readonly #transport: Transport;
  readonly breaker: Breaker;
  /** Where it was last said to be for ever. */
  #movedTo: string | undefined;
  /** Breakers by the origin of a token service on another host; the last used ones stay. */
  readonly #tokenServices = new LRUCache<string, Breaker>({ max: MAX_TOKEN_SERVICES });

  constructor(parts: RegistrySenderParts, secrets: Secrets) {
    const { config, log } = parts;
    const upstream = config.name;
    this.#parts = parts;
    this.#secrets = secrets;
    this.base = new URL(`${config.url}/v2/`);
    this.#transport = new Transport({
      ...parts,
      trustTold: {
        failed: (reason) => log.warn({ upstream, reason }, TEXTS.certificatesKept),
        renewed: () => log.info({ upstream }, TEXTS.certificatesRenewed),
      },
    });
    this.breaker = this.#createBreaker({
      what: 'upstream',
      url: this.#address(''),
      isAlive: (status) => status < 500,
    });
  }

  /** `undefined` while nothing speaks against the registry, or a token service that it needs. */
  get problem(): UpstreamProblem | undefined {
    const [missed] = [...this.#tokenServices.values()].flatMap(({ problem }) => problem ?? []);
    return this.breaker.problem ?? (missed && { ...missed, state: 'suspect' });
  }

  /** Hosts that the configuration names, beside the registry's own domain. */
  get realms(): HostList {
    return this.#transport.guard.namedAs('realm');
  }

  /** For whoever ends its connections, or ends with them. */
  get transport(): Pick<Transport, 'closing' | 'leave' | 'close'> {
    return this.#transport;
  }

  /** Begins the time limit of one question to the registry. */
  startDeadline(ms = this.#parts.timing.exchangeMs): Deadline {
    return this.#transport.startDeadline(this.base.host, ms);
  }

  /** A request that belongs to the registry's login. */
  async send(request: TransportRequest): Promise<TransportResponse> {
    return this.#send(request, LOGIN);
  }

  /**
   * Any path may redirect; `Authorization` stays on the registry's own origin. Another registry that is
   * led to is asked with a login of `redirectLogins`.
   */
  async follow(
    wanted: RegistryRequest,
    authorization: string | undefined,
    redirectLogins: RedirectLogins,
  ): Promise<RegistryAnswer> {
    const { guard } = this.#transport;
    let url = this.#address(wanted.path);
    let movedTo: string | undefined;
    for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
      const isOwn = guard.isOwn(url);
      const response = isOwn
        ? await this.#ask(wanted, url, authorization)
        : await this.#askOther(wanted, url, redirectLogins);
      const { status } = response;
      if (!isRedirect(status)) return { response, authorization, isOwn, movedTo };
      await response.dump();
      const next = followRedirect(url, response.headers['location']);
      if (typeof next === 'string') throw this.#badRedirect(next, status);
      if (isOwn && PERMANENT.has(status)) movedTo = this.#noteMove(wanted, next) ?? movedTo;
      const refusal = guard.refusal('storage', next, isOwn ? undefined : url);
      if (refusal !== undefined && !guard.isOwn(next)) {
        throw this.#badRedirect(`${refusal}${this.tellMove(movedTo)}`, status);
      }
      url = next;
    }
    throw this.#badRedirect(TEXTS.tooManyRedirects({ most: MAX_REDIRECTS }));
  }

  /** What is to be told behind a failure of a registry that has moved; else nothing. */
  tellMove(url: string | undefined): string {
    const { name } = this.#parts.config;
    return url === undefined
      ? ''
      : TEXTS.moved({ host: this.base.host, key: `upstreams.${name}.url`, url });
  }

  /** Sets its gauges. */
  show(): void {
    const { config, metrics } = this.#parts;
    const { isUp } = this.breaker;
    if (isUp !== undefined) metrics.upstreamUp.set({ upstream: config.name }, isUp ? 1 : 0);
    for (const [kind, end] of certificateEnds(this.#transport.trust.own)) {
      metrics.certificateExpiry.set({ upstream: config.name, kind }, end / 1000);
    }
  }

  /** Where the registry is now, when all that it was asked for is there under the same path. */
  #noteMove({ path }: RegistryRequest, { origin, pathname }: URL): string | undefined {
    const end = `/v2/${path.replace(/\?.*$/, '')}`;
    if (origin === this.base.origin || !pathname.endsWith(end)) return undefined;
    const url = this.#secrets.redactOwn(`${origin}${pathname.slice(0, -end.length)}`);
    if (url === this.#movedTo) return url;
    this.#movedTo = url;
    const upstream = this.#parts.config.name;
    this.#parts.log.warn(
      { upstream, url },
      'the registry has moved; write the url where it is now',
    );
    return url;
  }

  /** Storage, or another registry. */
  async #askOther(
    wanted: RegistryRequest,
    url: URL,
    redirectLogins: RedirectLogins,
  ): Promise<TransportResponse> {
    const sent = await redirectLogins.anticipate(url);
    const response = await this.#ask(wanted, url, sent);
    if (response.status !== 401) return response;
    const authorization = await redirectLogins
      .answer(url, response, sent)
      .catch((error: unknown) => {
        response.destroy();
        throw error;
      });
    if (authorization === undefined) return response;
    await response.dump();
    return this.#ask(wanted, url, authorization);
  }

  #address(path: string): URL {
    const { namespace } = this.#parts.config;
    const url = new URL(path, this.base);
    if (namespace === undefined || url.searchParams.has('ns')) return url;
    // What else the query says may be signed, and stays as it is.
    url.search = `${url.search}${url.search === '' ? '?' : '&'}ns=${encodeURIComponent(namespace)}`;
    return url;
  }

  /**
   * `Via` and the place in a trace are for the registry itself: storage, signed addresses and whoever
   * else it leads to learn nothing of who asks.
   */
  async #ask(
    wanted: RegistryRequest,
    url: URL,
    authorization: string | undefined,
  ): Promise<TransportResponse> {
    const { userAgent, via } = this.#parts;
    const { method, kind, headers, scope, demand, deadline, isStream = false } = wanted;
    const isOwn = this.#transport.guard.isOwn(url);
    const send = async (): Promise<TransportResponse> => {
      const request: TransportRequest = {
        method,
        url,
        signal: demand.signal,
        deadline,
        isStream,
        isStorage: true,
        headers: {
          'user-agent': userAgent,
          ...headers,
          ...(isOwn && { via: via.header, ...Traces.headers }),
          ...(authorization !== undefined && { authorization }),
        },
      };
      const response = await this.#send(request, scope);
      Traces.add({ 'http.response.status_code': response.status });
      return response;
    };
    const facts = { 'http.request.method': method, 'server.address': url.host };
    return Traces.span(`${isOwn ? 'ask upstream for' : 'follow to'} ${kind}`, send, {
      kind: 'client',
      facts,
    });
  }

  /** A storage host or token service that is down says nothing about the registry. */
  async #send(request: TransportRequest, scope: string): Promise<TransportResponse> {
    const { url, isStorage = false } = request;
    const send = async (): Promise<TransportResponse> => this.#transport.send(request);
    if (this.#transport.guard.isOwn(url)) return this.breaker.run(scope, send);
    return isStorage ? send() : this.#breakerOf(url).run(scope, send);
  }

  #breakerOf({ origin, pathname }: URL): Breaker {
    const known = this.#tokenServices.get(origin);
    if (known) return known;
    // Without a scope, of which clients choose a part; some answer that with an error of any kind.
    const url = new URL(pathname, origin);
    const isAlive = (): boolean => true;
    const breaker = this.#createBreaker({ what: 'token service', url, isAlive });
    this.#tokenServices.set(origin, breaker);
    return breaker;
  }

  #createBreaker({
    url,
    ...parts
  }: Pick<BreakerParts, 'what' | 'isAlive'> & { readonly url: URL }): Breaker {
    const { config, timing, log, clock } = this.#parts;
    return new Breaker({
      ...parts,
      secrets: this.#secrets,
      upstream: config.name,
      host: url.host,
      probe: async () => this.#probe(url),
      log,
      pauseMs: timing.breakerMs,
      clock,
    });
  }

  /** Resolves with the status. */
  async #probe(url: URL): Promise<number> {
    const { userAgent, timing } = this.#parts;
    using deadline = this.startDeadline(timing.probeMs);
    const headers = { accept: 'application/json', 'user-agent': userAgent };
    const response = await this.#transport.send({ method: 'GET', url, headers, deadline });
    void response.dump();
    return response.status;
  }

  #badRedirect(reason: string, status?: number): UpstreamError {
    return new UpstreamError(this.#parts.config.name, 'bad-response', reason, { status });
  }
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

const PERMANENT: ReadonlySet<number> = new Set([301, 308]);

const MAX_REDIRECTS = 10;

export function isRedirect(status: number): boolean {
  return REDIRECTS.has(status);
}

/**
 * Where a redirect leads, or why it leads nowhere. Registries send blobs to storage on other origins:
 * by http(s), and never from https to http. Whether that host may be dialled is the `DialGuard`'s.
 */
export function followRedirect(from: URL, location: string | undefined): URL | string {
  if (!location) return TEXTS.redirectWithoutLocation;
  if (!URL.canParse(location, from)) return TEXTS.redirectToNoUrl;
  const to = new WrittenUrl(location, from);
  if (to.protocol !== 'https:' && to.protocol !== 'http:') {
    return TEXTS.redirectToProtocol({ protocol: to.protocol });
  }
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    return TEXTS.redirectToHttp({ host: to.host });
  }
  return to;
}
