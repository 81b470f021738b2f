import type { TransportResponse } from '../net/transport.ts';
import type { Authenticator, ChallengeAnswer } from './authenticator.ts';
import type { Challenge } from './challenge.ts';
import type { RedirectLogins } from './redirect-logins.ts';
import { Quota } from './quota.ts';
import { parseRetryAfter } from './registry-answer.ts';
import type { RegistryAnswer, RegistryRequest, RegistrySender } from './registry-sender.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { AccountStatus } from '../api/status-api.ts';
import type { Secrets } from './secrets.ts';
import { TEXTS } from './texts.ts';
import type { Clock } from '../time/clock.ts';

export interface AccountParts {
  readonly sender: RegistrySender;
  readonly redirectLogins: RedirectLogins;
  readonly authenticator: Authenticator;
  readonly clock: Clock;
  readonly secrets: Secrets;
  /** Called when the login is refused, and when it is taken again. */
  readonly turned: (account: Account) => void;
}

/** An expired token, a wider scope and a newer credential make three; one more is allowed. */
const MAX_LOGINS = 4;
/** Rights given in the last minute may be missing in an older token only. */
const YOUNG_MS = 60_000;

/** One way to be known to a registry: a credential, or none, with its tokens and its quota. */
export class Account {
  readonly quota: Quota;
  readonly #parts: AccountParts;
  #refused: AccountStatus['refused'];

  constructor(parts: AccountParts) {
    this.#parts = parts;
    this.quota = new Quota(parts.clock);
  }

  /** For the operator, without a secret. */
  get label(): string {
    return this.#parts.authenticator.credentials?.label ?? 'anonymous';
  }

  get isAnonymous(): boolean {
    return !this.#parts.authenticator.credentials;
  }

  /** Since when and why its login is refused. */
  get refused(): AccountStatus['refused'] {
    return this.#refused;
  }

  /** The registry's answer after every login that it asks for was tried. */
  async ask(wanted: RegistryRequest): Promise<RegistryAnswer> {
    if (this.isAnonymous) return this.#ask(wanted);
    try {
      const answer = await this.#ask(wanted);
      this.#judge(answer);
      return answer;
    } catch (error) {
      const isRefused = error instanceof UpstreamError && error.fault === 'unauthorized';
      if (isRefused) this.#turn(error.reason);
      throw error;
    }
  }

  /**
   * A 401 to a token is no word about the login that it was given for: it may lack rights. What was
   * answered to nobody says nothing either.
   */
  #judge({ response: { status, url }, authorization, isOwn }: RegistryAnswer): void {
    if (!isOwn || authorization === undefined) return;
    if (status !== 401) this.#turn(undefined);
    else if (!this.#parts.authenticator.hasTokens) {
      this.#turn(TEXTS.refused({ host: url.host, login: TEXTS.withCredentials }));
    }
  }

  #turn(reason: string | undefined): void {
    if ((reason === undefined) === (this.#refused === undefined)) return;
    const { clock, secrets, turned } = this.#parts;
    this.#refused =
      reason === undefined ? reason : { since: clock.wall(), reason: secrets.redactOwn(reason) };
    turned(this);
  }

  async #ask(wanted: RegistryRequest): Promise<RegistryAnswer> {
    const { sender, authenticator, redirectLogins } = this.#parts;
    const login = new Login(authenticator, wanted.scope);
    let authorization = await login.firstHeader();
    for (let tries = 1; ; tries += 1) {
      const answer = await sender.follow(wanted, authorization, redirectLogins);
      // No credential of this account belongs there.
      if (!answer.isOwn) return answer;
      const { response } = answer;
      this.#learn(response, wanted);
      if (response.status === 404 && authorization === undefined && authenticator.isKept) {
        await response.dump();
        throw authenticator.unasked(response);
      }
      if ((response.status !== 401 && response.status !== 403) || tries === MAX_LOGINS) {
        return answer;
      }
      authorization = await login.headerAfter(response).catch(async (error: unknown) => {
        await response.dump();
        throw error;
      });
      if (authorization === undefined) return answer;
      await response.dump();
    }
  }

  #learn({ status, headers }: TransportResponse, wanted: RegistryRequest): void {
    // A login that is asked for says nothing of how often one may come.
    if (status === 401) return;
    if (status !== 429) return this.quota.observe(headers, wanted.scope);
    this.quota.refuse(headers, parseRetryAfter(headers, this.#parts.clock), wanted);
  }
}

/**
 * The logins of one request. After a refusal the next of these is tried, each once: a token, a newer
 * token, the wider scope that the registry asks for, a newer credential.
 */
class Login {
  readonly #authenticator: Authenticator;
  #scope: string;
  #isExact = false;
  #proof: ChallengeAnswer | undefined;
  #challenge: Challenge | undefined;
  #hasFreshToken = false;
  #hasFreshCredential = false;

  constructor(authenticator: Authenticator, scope: string) {
    this.#authenticator = authenticator;
    this.#scope = scope;
  }

  /** `Authorization` of the first attempt. */
  async firstHeader(): Promise<string | undefined> {
    this.#proof = await this.#authenticator.anticipate(this.#scope);
    return this.#proof?.authorization;
  }

  /** `Authorization` of the next attempt; `undefined` when there is nothing left to try. */
  async headerAfter({ status, challenges }: TransportResponse): Promise<string | undefined> {
    // ECR says 403 to an authorization that has expired.
    if (status === 403) return this.#renewCredential();
    this.#challenge = await this.#authenticator.learn(challenges);
    if (!this.#proof) return this.#answer();
    const { error, scope } = this.#challenge.parameters;
    if (error === 'insufficient_scope' && scope !== undefined && !this.#isExact) {
      const isWider = scope !== this.#scope;
      this.#isExact = true;
      this.#scope = scope;
      if (isWider) return this.#answer();
      // A new token of the same scope brings more only where rights were given since the old one.
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
