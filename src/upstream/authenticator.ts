import { LRUCache } from 'lru-cache';
import type { HostList } from '../config/host-list.ts';
import type { Clock } from '../time/clock.ts';
import { chooseChallenge, parseChallenges, type Challenge, readRealm } from './challenge.ts';
import type { Credential, CredentialSource } from './credentials/credential.ts';
import { ExpiringValue } from './expiring-value.ts';
import type { ChallengeProbe } from './challenge-probe.ts';
import type { Secrets } from './secrets.ts';
import { TokenService, type TokenServiceParts } from './token-service.ts';
import type { Timing } from '../net/timing.ts';
import { basicAuthorization, type Sender, type TransportResponse } from '../net/transport.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import { TEXTS } from './texts.ts';

export interface AuthenticatorParts extends Pick<TokenServiceParts, 'asked'> {
  readonly upstream: string;
  /** The registry's `/v2/`; credentials belong to it and to its realm only. */
  readonly registry: URL;
  readonly challengeProbe: ChallengeProbe;
  /** Without one, anonymous. */
  readonly credentials?: CredentialSource | undefined;
  /** Hosts beside the registry's own domain that its tokens may come from. */
  readonly realms: HostList;
  /** The upstream that redirects to this registry, which is then another one. */
  readonly gateway?: URL;
  readonly sender: Sender;
  readonly secrets: Secrets;
  readonly clock: Clock;
  readonly timing: Timing;
}

/** The answer to a challenge: a header, and what it was made from. */
export interface ChallengeAnswer {
  readonly authorization: string;
  readonly credential: Credential | undefined;
  /** The token behind it, to drop when the registry refuses it. */
  readonly token?: ExpiringValue<string>;
}

const MAX_TOKENS = 1_000;

/**
 * Answers a registry's challenges for one credential. Tokens are kept by realm, service, scope and
 * credential, asked for once however many requests wait, and renewed ahead of their end. Nothing
 * is shared with another credential.
 */
export class Authenticator {
  readonly #parts: AuthenticatorParts;
  readonly #service: TokenService;
  readonly #tokens = new LRUCache<string, ExpiringValue<string>>({ max: MAX_TOKENS });
  #challenge: Challenge | undefined;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
    this.#service = new TokenService(parts);
  }

  get credentials(): CredentialSource | undefined {
    return this.#parts.credentials;
  }

  /**
   * The login that the registry's last challenge asked for, for an account also that of `/v2/`;
   * `undefined` before the first one.
   */
  async anticipate(scope: string): Promise<ChallengeAnswer | undefined> {
    const credential = await this.#ready();
    if (credential) return { authorization: `Bearer ${credential.token}`, credential };
    if (this.#parts.credentials && !this.#challenge) {
      const greeted = await this.#parts.challengeProbe.challenge();
      this.#challenge ??= greeted;
    }
    return this.#challenge && this.answer(this.#challenge, scope);
  }

  /** Its logins go to a token service, which says whether they are good. */
  get hasTokens(): boolean {
    return this.#tokens.size > 0;
  }

  /** An account that nobody has asked for its name, because the registry could not be asked how. */
  get isKept(): boolean {
    return (
      this.#parts.credentials !== undefined &&
      !this.#challenge &&
      !this.#parts.challengeProbe.isTold
    );
  }

  /** Reads what a 401 asks for. Some registries say it only in the answer to `/v2/`. */
  async learn(lines: readonly string[]): Promise<Challenge> {
    const greet = async (): Promise<Challenge | undefined> =>
      lines.length === 0 ? this.#parts.challengeProbe.challenge() : undefined;
    const challenge = chooseChallenge(parseChallenges(lines)) ?? this.#challenge ?? (await greet());
    if (!challenge) {
      throw this.#error('unauthorized', TEXTS.unknownLogin);
    }
    this.#challenge = challenge;
    return challenge;
  }

  /** Throws `UpstreamError` when there is no answer. */
  async answer(
    challenge: Challenge,
    scope: string,
    exactly = false,
    isSecond = false,
  ): Promise<ChallengeAnswer> {
    const credential = await this.#parts.credentials?.get();
    if (credential?.kind === 'bearer') {
      return { authorization: `Bearer ${credential.token}`, credential };
    }
    if (challenge.scheme === 'basic') return this.#basic(credential);
    const { service, scope: asked } = challenge.parameters;
    const url = this.#realm(challenge, credential);
    // A scope that names a repository stands for that request; others (ECR Public's "aws") for all.
    const isOwn = exactly || asked === undefined || asked.startsWith('repository:');
    const wanted = { realm: url, service, scope: isOwn ? scope : asked, credential };
    const token = this.#tokenOf(wanted);
    try {
      return { authorization: await token.get(), credential, token };
    } catch (error) {
      const isRefused = error instanceof UpstreamError && error.fault === 'unauthorized';
      if (!isRefused || isSecond || !credential) throw error;
      // An issued credential may end before its time: a newer one is tried once.
      if (!this.#parts.credentials?.refuse(credential)) throw error;
      return this.answer(challenge, scope, exactly, true);
    }
  }

  /** A configured bearer token, which is sent without a challenge. */
  async #ready(): Promise<Extract<Credential, { kind: 'bearer' }> | undefined> {
    const credential = await this.#parts.credentials?.get();
    return credential?.kind === 'bearer' ? credential : undefined;
  }

  #basic(credential: Exclude<Credential, { kind: 'bearer' }> | undefined): ChallengeAnswer {
    if (!credential) {
      throw this.#error('unauthorized', TEXTS.noCredentials);
    }
    if (credential.kind === 'identity-token') {
      throw this.#error('unauthorized', TEXTS.tokenForPassword);
    }
    const { username, password } = credential;
    return { authorization: basicAuthorization(username, password), credential };
  }

  #tokenOf(wanted: Parameters<TokenService['ask']>[0]): ExpiringValue<string> {
    const { realm, service, scope, credential } = wanted;
    const key = JSON.stringify([realm.href, service, scope, credential]);
    const known = this.#tokens.get(key);
    if (known) return known;
    const token = new ExpiringValue({
      fetch: async (signal) => this.#service.ask(wanted, signal),
      clock: this.#parts.clock,
      patienceMs: this.#parts.timing.patienceMs,
    });
    this.#tokens.set(key, token);
    return token;
  }

  #realm(challenge: Challenge, credential: Credential | undefined): URL {
    const withCredentials = credential !== undefined;
    const { registry, realms, gateway } = this.#parts;
    const realm = readRealm(challenge, registry, { withCredentials, realms, gateway });
    if (realm === undefined) throw this.#error('bad-response', TEXTS.noRealm);
    if (typeof realm === 'string') throw this.#error('bad-response', realm);
    return realm;
  }

  /** What a 404 to nobody comes to while it is not known how to log in: no absence. */
  unasked({ url: { host } }: Pick<TransportResponse, 'url'>): UpstreamError {
    return this.#error('failing', TEXTS.hiddenPerhaps({ host }));
  }

  #error(fault: UpstreamError['fault'], reason: string): UpstreamError {
    return new UpstreamError(this.#parts.upstream, fault, reason);
  }
}
