import { Traces } from '../observe/traces.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import type { Credential } from './credentials/credential.ts';
import type { Issued } from './expiring-value.ts';
import { describeErrors, parseRetryAfter } from './registry-answer.ts';
import { parseJsonObject } from '../net/content-coding.ts';
import {
  basicAuthorization,
  type Sender,
  type TransportRequest,
  type TransportResponse,
} from '../net/transport.ts';
import type { Secrets } from './secrets.ts';
import { TEXTS } from './texts.ts';

/** What a token is asked for. */
export interface TokenRequest {
  /** Where; may hold a query of its own. */
  readonly realm: URL;
  readonly service: string | undefined;
  readonly scope: string;
  /** `undefined`: anonymous. */
  readonly credential: Credential | undefined;
}

export interface TokenServiceParts {
  readonly upstream: string;
  readonly sender: Sender;
  /** What it issues is one more. */
  readonly secrets: Secrets;
  readonly clock: Clock;
  /** Told whether a token was given. */
  readonly asked?: (isGiven: boolean) => void;
}

interface TokenAnswer extends Pick<TransportResponse, 'status' | 'headers'> {
  readonly document: Record<string, unknown> | undefined;
}

const CLIENT_ID = 'entrepot';
/**
 * Every client takes shorter lives, and absent ones, as this; what is no number is none. The longest
 * one is that of any `ExpiringValue`, 12 hours.
 */
const MIN_LIFE_SECONDS = 60;
const MAX_TOKEN_RESPONSE_BYTES = 1024 * 1024;
/** How servers say that they do not know one of the two forms. */
const UNKNOWN_FORM: ReadonlySet<number> = new Set([404, 405]);

/**
 * Asks token services: by GET with Basic, which all know, or by the OAuth2 form (POST), which an
 * identity token needs.
 * @see https://distribution.github.io/distribution/spec/auth/token/
 * @see https://distribution.github.io/distribution/spec/auth/oauth/
 */
export class TokenService {
  readonly #parts: TokenServiceParts;

  constructor(parts: TokenServiceParts) {
    this.#parts = parts;
  }

  /** The header's value. Throws `UpstreamError`. */
  async ask(wanted: TokenRequest, signal?: AbortSignal): Promise<Issued<string>> {
    const facts = { 'server.address': wanted.realm.host, 'entrepot.scope': wanted.scope };
    let isGiven = false;
    try {
      const ask = async (): Promise<Issued<string>> => this.#ask(wanted, signal);
      const issued = await Traces.span('ask for token', ask, { kind: 'client', facts });
      isGiven = true;
      return issued;
    } finally {
      this.#parts.asked?.(isGiven);
    }
  }

  async #ask(wanted: TokenRequest, signal?: AbortSignal): Promise<Issued<string>> {
    const { credential } = wanted;
    const isIdentity = credential?.kind === 'identity-token';
    const first = await this.#send(isIdentity ? postForm(wanted) : getForm(wanted), signal);
    const isUnknownForm = credential && !isIdentity && UNKNOWN_FORM.has(first.status);
    const answer = isUnknownForm ? await this.#send(postForm(wanted), signal) : first;
    if (answer.status !== 200) throw this.#refusal(answer, wanted);
    return this.#read(answer.document, wanted.realm);
  }

  async #send(request: TransportRequest, signal?: AbortSignal): Promise<TokenAnswer> {
    const { status, headers, ...response } = await this.#parts.sender.send({ ...request, signal });
    const document = parseJsonObject(await response.read(MAX_TOKEN_RESPONSE_BYTES));
    return { status, headers, document };
  }

  #read(document: Record<string, unknown> | undefined, url: URL): Issued<string> {
    const value = document?.['token'] || document?.['access_token'];
    // Anything else would end up in a header line.
    if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
      throw this.#error('bad-response', TEXTS.noToken({ host: url.host }));
    }
    this.#parts.secrets.add(value);
    const life = Number(document?.['expires_in'] ?? 0);
    const seconds = Math.max(Number.isNaN(life) ? 0 : life, MIN_LIFE_SECONDS);
    return { value: `Bearer ${value}`, lifeMs: seconds * 1000 };
  }

  #refusal({ status, headers, document }: TokenAnswer, wanted: TokenRequest): UpstreamError {
    const reason = TEXTS.tokenAnswered({ host: wanted.realm.host, status });
    if (status === 429) {
      const retryAfterMs = parseRetryAfter(headers, this.#parts.clock);
      return this.#error('rate-limited', reason, { status, retryAfterMs });
    }
    if (status >= 500) return this.#error('failing', reason, { status });
    // OAuth2 says 400 for a grant that it does not take (RFC 6749 section 5.2).
    const isRefusal = status === 401 || status === 403 || (status === 400 && wanted.credential);
    if (!isRefusal) return this.#error('bad-response', reason, { status });
    const login = wanted.credential ? TEXTS.theCredentials : TEXTS.nobody;
    const said = describeErrors(document, this.#parts.secrets);
    return this.#error('unauthorized', TEXTS.tokenRefused({ reason, login, said }), { status });
  }

  #error(
    fault: UpstreamError['fault'],
    reason: string,
    options: { status?: number; retryAfterMs?: number | undefined } = {},
  ): UpstreamError {
    return new UpstreamError(this.#parts.upstream, fault, reason, options);
  }
}

function getForm({ realm, service, scope, credential }: TokenRequest): TransportRequest {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  url.searchParams.append('scope', scope);
  const headers: Record<string, string> = { accept: 'application/json' };
  if (credential?.kind === 'password') {
    headers['authorization'] = basicAuthorization(credential.username, credential.password);
  }
  return { method: 'GET', url, headers };
}

function postForm({ realm, service, scope, credential }: TokenRequest): TransportRequest {
  const form = new URLSearchParams({ client_id: CLIENT_ID, scope });
  if (service !== undefined) form.set('service', service);
  if (credential?.kind === 'identity-token') {
    form.set('grant_type', 'refresh_token');
    form.set('refresh_token', credential.token);
  } else if (credential?.kind === 'password') {
    form.set('grant_type', 'password');
    form.set('username', credential.username);
    form.set('password', credential.password);
  }
  return {
    method: 'POST',
    url: realm,
    headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
    body: form.toString(),
  };
}
