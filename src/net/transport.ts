import type { UpstreamConfig } from '../config/config.ts';
import { ConfigError } from '../config/problems.ts';
import { Agents } from './agents.ts';
import { isUnknownAuthority, type Authorities, Trust, type TrustParts } from './authorities.ts';
import { Deadline } from './deadline.ts';
import { DialGuard, RefusedDial, type DialGuardParts, type OriginKind } from './dial-guard.ts';
import {
  Exchange,
  type IncomingAnswer,
  type OutgoingRequest,
  type ResponseBody,
} from './exchange.ts';
import { codingsOf, readDocument, type Coding } from './content-coding.ts';
import { TEXTS } from './texts.ts';
import type { Timing } from './timing.ts';
import { UpstreamError, type UpstreamErrorOptions } from '../oci/upstream-error.ts';

export interface TransportRequest extends OutgoingRequest {
  readonly signal?: AbortSignal | undefined;
  /** Of the exchange that this request is a part of; without one it has one of its own. */
  readonly deadline?: Deadline | undefined;
  /** Where the registry redirects to, when that is another origin; else it is a token service. */
  readonly isStorage?: boolean;
  /** A blob, whose body may take any time while bytes come: the deadline ends with the headers. */
  readonly isStream?: boolean;
}

/** Must be read, dumped or destroyed, to free the connection. */
export interface TransportResponse {
  readonly url: URL;
  readonly status: number;
  /** The first line of each. */
  readonly headers: Readonly<Record<string, string>>;
  /** The compressions that its `Content-Encoding` names, rightly or not. */
  readonly codings: readonly Coding[];
  /** Every `WWW-Authenticate`. */
  readonly challenges: readonly string[];
  /** Throws `UpstreamError` when the body breaks or stalls; leaving the loop early destroys it. */
  chunks(): AsyncGenerator<Buffer>;
  /** The whole of a document, decoded; `undefined` when it is longer than the limit (bytes). */
  read(limit: number): Promise<Buffer | undefined>;
  /** The same of what is only told to people: `undefined` also when it breaks or is late. */
  readText(limit: number): Promise<Buffer | undefined>;
  /** Reads the rest and forgets it, or closes the connection when that is much or late. Never rejects. */
  dump(): Promise<void>;
  /** Closes the connection unless the body is all here. */
  destroy(): void;
}

export interface TransportParts extends DialGuardParts {
  readonly config: DialGuardParts['config'] & Pick<UpstreamConfig, 'tls' | 'proxy' | 'environment'>;
  readonly timing: Timing;
  readonly authorities: Authorities;
  /** Told of the certificate files of the upstream; nobody is unless given. */
  readonly trustTold?: TrustParts['told'] | undefined;
  /** Where the configuration names the authorities of the host; under the upstream unless given. */
  readonly caKey?: string;
}

/** What sends a request: the transport, or what stands in front of it. */
export type Sender = Pick<Transport, 'send'>;

/** No descriptor or memory left for a socket (socket(2), connect(2)). */
const SHORTAGES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

/** As TLS and Node name what is wrong with a certificate, of either side. */
const REFUSED_HANDSHAKE = /^ERR_(?:SSL|TLS)_|CERT|_CA$|CRL|SIGNATURE|^HOSTNAME_MISMATCH$/;

const DEAF: TrustParts['told'] = { failed: () => {}, renewed: () => {} };

/** The one place that opens sockets to an upstream: one request, no retry, no redirect. */
export class Transport {
  /** Where its requests may lead. */
  readonly guard: DialGuard;
  readonly trust: Trust;
  readonly #upstream: string;
  readonly #caKey: string;
  readonly #timing: Timing;
  readonly #agents: Agents;
  readonly #closing = new AbortController();
  /** Why nothing is asked any more. */
  #refusal: string | undefined;

  constructor(parts: TransportParts) {
    const { config, timing, authorities, trustTold = DEAF } = parts;
    this.#upstream = config.name;
    this.#caKey = parts.caKey ?? `upstreams.${config.name}.tls.ca`;
    this.#timing = timing;
    this.guard = new DialGuard(parts);
    this.trust = new Trust({ tls: config.tls, authorities, told: trustTold });
    this.#agents = new Agents({ config, guard: this.guard, timing, trust: this.trust });
  }

  /** Of one exchange with this host, however many requests it takes. */
  startDeadline(host: string, ms = this.#timing.exchangeMs): Deadline {
    const late = (): UpstreamError => this.#error('timeout', TEXTS.noEnd({ host, ms }));
    return new Deadline(ms, late, this.closing);
  }

  /** Resolves when the headers are here. */
  async send(wanted: TransportRequest): Promise<TransportResponse> {
    if (wanted.deadline) return this.#send(wanted, wanted.deadline);
    const deadline = this.startDeadline(wanted.url.host);
    return this.#send(wanted, deadline, () => deadline[Symbol.dispose]());
  }

  /** `ended` is called when the deadline counts no more. */
  async #send(
    wanted: TransportRequest,
    deadline: Deadline,
    ended = (): void => {},
  ): Promise<TransportResponse> {
    const { url, signal, isStream = false } = wanted;
    const kind = this.#kindOf(wanted);
    if (this.#refusal !== undefined) {
      throw this.#error('offline', this.#refusal, { isUnasked: true });
    }
    const refusal = this.guard.refusal(kind, url);
    if (refusal !== undefined) throw this.#error('bad-response', refusal);
    const ms = isStream ? this.#timing.firstByteMs : this.#timing.headersMs;
    const late = this.#error('timeout', TEXTS.noAnswer({ host: url.host, ms }));
    const exchange = new Exchange((bytes) => deadline.received(bytes), { isStream });
    const timer = setTimeout(() => exchange.abort(late), ms);
    if (signal) exchange.follow(signal);
    const release = exchange.follow(deadline.signal);
    void exchange.ended.then(ended);
    try {
      signal?.throwIfAborted();
      deadline.signal.throwIfAborted();
      exchange.dispatch(this.#agents.of(kind, url), wanted);
      const answer = await exchange.response;
      if (isStream) {
        release();
        ended();
      }
      return this.#respond(url, answer);
    } catch (error) {
      ended();
      signal?.throwIfAborted();
      throw this.#fault(error, url);
    } finally {
      clearTimeout(timer);
    }
  }

  #respond(url: URL, { status, headers, body }: IncomingAnswer): TransportResponse {
    const { discardMs } = this.#timing;
    const lines = (name: string): string[] => [headers[name] ?? []].flat();
    const codings = codingsOf(lines('content-encoding'));
    const chunks = (): AsyncGenerator<Buffer> => this.#chunks(body, url);
    const read = async (limit: number): Promise<Buffer | undefined> =>
      readDocument(chunks(), { limit, codings });
    return {
      url,
      status,
      headers: Object.fromEntries(Object.keys(headers).map((name) => [name, lines(name)[0] ?? ''])),
      codings,
      challenges: lines('www-authenticate'),
      chunks,
      read,
      readText: async (limit) => {
        const timer = setTimeout(() => body.destroy(), discardMs);
        const reading = read(limit).catch(() => undefined);
        return reading.finally(() => clearTimeout(timer));
      },
      dump: async () => body.dump(discardMs),
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

  /** Aborts when it closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Keeps no connection beyond its request; with a refusal, opens none any more. */
  leave(refusal?: string): void {
    this.#refusal ??= refusal;
    this.#agents.leave({ isShut: refusal !== undefined });
  }

  /** What runs ends at once. */
  async close(): Promise<void> {
    const options = { isUnasked: true, isOurs: true };
    this.#closing.abort(this.#error('unreachable', TEXTS.closing, options));
    await this.#agents.close();
  }

  #kindOf({ url, isStorage = false }: TransportRequest): OriginKind {
    if (this.guard.isOwn(url)) return 'registry';
    return isStorage ? 'storage' : 'realm';
  }

  /** With the key that mends it. */
  #unknownAuthority(url: URL, code: string): string {
    const { host } = url;
    const isOurs = this.guard.isOwn(url) || hasOurTrust(this.guard, url);
    return isOurs
      ? TEXTS.unknownAuthority({ host, code, key: this.#caKey })
      : TEXTS.unknownAuthorityOfOther({ host, code, key: `upstreams.${this.#upstream}` });
  }

  #fault(error: unknown, url: URL): UpstreamError {
    if (error instanceof UpstreamError) return error;
    if (error instanceof ConfigError) return this.#error('bad-response', error.message);
    if (error instanceof RefusedDial) return this.#error('bad-response', error.message);
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).name;
    if (REFUSED_HANDSHAKE.test(code)) this.trust.again();
    const isTimeout = code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT';
    const reason = isUnknownAuthority(code)
      ? this.#unknownAuthority(url, code)
      : TEXTS.noConnection({ host: url.host, code });
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

function hasOurTrust(guard: DialGuard, url: URL): boolean {
  return guard.isTrusted('storage', url) || guard.isTrusted('realm', url);
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
export function basicAuthorization(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
