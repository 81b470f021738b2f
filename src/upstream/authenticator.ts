import { LRUCache } from 'lru-cache';
import type { PasswordCredentials } from '../config/config.ts';
import { parseChallenges, type Challenge } from './challenge.ts';
import { refuseRealm } from './realm.ts';
import { readSmall } from './small-body.ts';
import { parseRetryAfter } from './retry-after.ts';
import type { Transport, TransportResponse } from './transport.ts';
import { UpstreamError } from '../oci/upstream-error.ts';

export interface AuthenticatorParts {
  readonly upstream: string;
  /** The registry's base URL; credentials belong to it and to its realm only. */
  readonly registry: URL;
  readonly credentials?: PasswordCredentials | undefined;
  readonly transport: Transport;
  readonly now?: (() => number) | undefined;
}

interface Token {
  readonly authorization: string;
  /** Milliseconds since 1970, early enough to ask anew before the registry refuses. */
  readonly expiresAt: number;
}

/** Every client takes shorter lives as this one. */
const MIN_LIFE_SECONDS = 60;
/** Asked anew when this share of its life is over. */
const LIFE_SHARE = 0.8;
const MAX_TOKENS = 1_000;
const MAX_TOKEN_RESPONSE_BYTES = 1024 * 1024;

/**
 * Answers a registry's challenges for one credential. Tokens are kept by realm, service, scope and
 * credential, asked for once however many requests wait, and dropped when the registry refuses them.
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export class Authenticator {
  readonly #parts: AuthenticatorParts;
  readonly #now: () => number;
  readonly #tokens = new LRUCache<string, Token>({ max: MAX_TOKENS });
  readonly #asking = new Map<string, Promise<Token>>();
  #challenge: Challenge | undefined;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
  }

  /** The header for a request, as far as earlier challenges tell; without one, none. */
  async authorize(scope: string): Promise<string | undefined> {
    if (this.#challenge === undefined) return undefined;
    return this.#answer(this.#challenge, scope);
  }

  /**
   * The header that answers a 401. `refused` is the one that the registry did not take: it is not
   * used again. Throws `UpstreamError` when no answer is possible.
   */
  async renew(
    header: string | string[] | undefined,
    scope: string,
    refused: string | undefined,
  ): Promise<string> {
    const challenges = parseChallenges(header);
    const challenge =
      challenges.find(({ scheme }) => scheme === 'bearer') ??
      challenges.find(({ scheme }) => scheme === 'basic') ??
      this.#challenge;
    if (!challenge) {
      throw this.#error('unauthorized', 'asks for a login in a way that is not Bearer or Basic');
    }
    this.#challenge = challenge;
    if (refused !== undefined) this.#drop(refused);
    const answer = await this.#answer(challenge, scope);
    if (answer === refused) {
      throw this.#error('unauthorized', 'the configured credentials were refused (401)');
    }
    return answer;
  }

  async #answer(challenge: Challenge, scope: string): Promise<string> {
    if (challenge.scheme === 'basic') return this.#basic();
    const { realm, service, scope: asked } = challenge.parameters;
    const url = this.#realm(realm);
    // A scope that names a repository stands for that request; others (ECR Public's "aws") for all.
    const wanted = asked === undefined || asked.startsWith('repository:') ? scope : asked;
    const identity = this.#parts.credentials?.username ?? '';
    const key = JSON.stringify([url.href, service, wanted, identity]);
    const known = this.#tokens.get(key);
    if (known && known.expiresAt > this.#now()) return known.authorization;
    return (await this.#askOnce(key, url, { service, scope: wanted })).authorization;
  }

  #basic(): string {
    const { credentials } = this.#parts;
    if (!credentials) {
      throw this.#error('unauthorized', 'asks for a login and no credentials are configured');
    }
    const { username, password } = credentials;
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  #realm(realm: string | undefined): URL {
    if (realm === undefined || !URL.canParse(realm)) {
      throw this.#error('bad-response', 'its challenge names no token realm');
    }
    const url = new URL(realm);
    const withCredentials = this.#parts.credentials !== undefined;
    const refusal = refuseRealm(url, this.#parts.registry, { withCredentials });
    if (refusal !== undefined) throw this.#error('bad-response', refusal);
    return url;
  }

  async #askOnce(
    key: string,
    realm: URL,
    wanted: { service: string | undefined; scope: string },
  ): Promise<Token> {
    const running = this.#asking.get(key);
    if (running) return running;
    const asking = this.#ask(realm, wanted).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    const token = await asking;
    this.#tokens.set(key, token);
    return token;
  }

  async #ask(realm: URL, wanted: { service: string | undefined; scope: string }): Promise<Token> {
    const url = new URL(realm);
    if (wanted.service !== undefined) url.searchParams.set('service', wanted.service);
    url.searchParams.append('scope', wanted.scope);
    const headers: Record<string, string> = { accept: 'application/json' };
    if (this.#parts.credentials) headers['authorization'] = this.#basic();
    const { transport } = this.#parts;
    const response = await transport.send({ method: 'GET', url, headers });
    const body = await readSmall(transport.chunks(response.body, url), MAX_TOKEN_RESPONSE_BYTES);
    if (response.statusCode !== 200) throw this.#tokenRefusal(response, url);
    return this.#readToken(body, url);
  }

  #tokenRefusal({ statusCode: status, headers }: TransportResponse, url: URL): UpstreamError {
    const reason = `the token service ${url.host} answered ${status}`;
    if (status === 401 || status === 403) {
      const login = this.#parts.credentials ? 'the configured credentials' : 'an anonymous request';
      return this.#error('unauthorized', `${reason} to ${login}`, status);
    }
    if (status === 429) {
      const retryAfterMs = parseRetryAfter(headers['retry-after']);
      return this.#error('rate-limited', reason, status, retryAfterMs);
    }
    return this.#error(status >= 500 ? 'failing' : 'bad-response', reason, status);
  }

  #readToken(body: Buffer | undefined, url: URL): Token {
    const document = parseObject(body);
    const value = document?.['token'] ?? document?.['access_token'];
    // Anything else would end up in a header line.
    if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
      throw this.#error('bad-response', `the token service ${url.host} sent no token`);
    }
    const life = Number(document?.['expires_in'] ?? 0);
    const seconds = Number.isFinite(life) ? Math.max(life, MIN_LIFE_SECONDS) : MIN_LIFE_SECONDS;
    return {
      authorization: `Bearer ${value}`,
      expiresAt: this.#now() + seconds * 1000 * LIFE_SHARE,
    };
  }

  #drop(authorization: string): void {
    for (const [key, token] of this.#tokens) {
      if (token.authorization === authorization) this.#tokens.delete(key);
    }
  }

  #error(
    fault: UpstreamError['fault'],
    reason: string,
    status?: number,
    retryAfterMs?: number,
  ): UpstreamError {
    return new UpstreamError(this.#parts.upstream, fault, reason, {
      ...(status !== undefined && { status }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }
}

function parseObject(body: Buffer | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body?.toString('utf8') ?? '');
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
