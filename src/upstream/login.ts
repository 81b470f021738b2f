import type { Authenticator, Proof } from './authenticator.ts';
import type { Challenge } from './challenge.ts';
import type { TransportResponse } from '../net/transport.ts';

/** A token so young has all the rights there are. */
const YOUNG_MS = 60_000;

/**
 * One request's dealings with a registry's login. A refusal is answered with what was not tried
 * yet: a token, a newer token, the wider scope that the registry asks for, a newer credential; each
 * once.
 */
export class Login {
  readonly #authenticator: Authenticator;
  #scope: string;
  #isExact = false;
  #proof: Proof | undefined;
  #challenge: Challenge | undefined;
  #hasFreshToken = false;
  #hasFreshCredential = false;

  constructor(authenticator: Authenticator, scope: string) {
    this.#authenticator = authenticator;
    this.#scope = scope;
  }

  /** The header to begin with. */
  async begin(): Promise<string | undefined> {
    this.#proof = await this.#authenticator.anticipate(this.#scope);
    return this.#proof?.authorization;
  }

  /** The header to try next; `undefined` when the refusal is the last word. */
  async next({ statusCode, headers }: TransportResponse): Promise<string | undefined> {
    // ECR says 403 to an authorization that has expired.
    if (statusCode === 403) return this.#renewCredential();
    this.#challenge = await this.#authenticator.learn(headers['www-authenticate']);
    if (!this.#proof) return this.#answer();
    const { error, scope } = this.#challenge.parameters;
    if (error === 'insufficient_scope' && scope !== undefined && !this.#isExact) {
      const isWider = scope !== this.#scope;
      this.#isExact = true;
      this.#scope = scope;
      if (isWider) return this.#answer();
      // The same scope for a token from before rights were given may bring more; a fresh one not.
      if ((this.#proof.token?.ageOf(this.#proof.authorization) ?? 0) < YOUNG_MS) return undefined;
    }
    if (!this.#hasFreshToken && this.#proof.token) {
      this.#proof.token.drop(this.#proof.authorization);
      return this.#answer();
    }
    return this.#renewCredential();
  }

  async #renewCredential(): Promise<string | undefined> {
    const { credentials } = this.#authenticator;
    const credential = this.#proof?.credential;
    if (!credentials || !credential || this.#hasFreshCredential) return undefined;
    this.#hasFreshCredential = true;
    return credentials.refuse(credential) ? this.#answer() : undefined;
  }

  async #answer(): Promise<string> {
    this.#hasFreshToken = true;
    this.#proof = this.#challenge
      ? await this.#authenticator.answer(this.#challenge, this.#scope, this.#isExact)
      : await this.#authenticator.anticipate(this.#scope);
    return this.#proof?.authorization ?? '';
  }
}
