import { errorAnswer, jsonAnswer } from './fake-answer.ts';
import type { Answer } from './fake-answer.ts';
import type { RecordedRequest } from './recorded-request.ts';

export interface AuthOptions {
  readonly kind: 'bearer' | 'basic';
  readonly username?: string;
  readonly password?: string;
  /** Pulls without credentials are allowed. Default: yes when there is no `username`. */
  readonly anonymous?: boolean;
  /** Repositories that anonymous pulls do not reach. */
  readonly private?: readonly string[];
  /** An unknown repository is 401 `insufficient_scope`, as on Docker Hub, in place of 404. */
  readonly hidesMissing?: boolean;
  /** Where too few rights are refused: by the registry (Docker Hub) or at once by the token endpoint (GHCR). */
  readonly refuses?: 'registry' | 'token';
  /** Seconds a token lives. `null`: an hour, and the answer does not say so (Quay). Default 300. */
  readonly expiresIn?: number | null;
  /** The field that carries the token. Default: both `token` and `access_token`. */
  readonly tokenField?: 'token' | 'access_token';
  /** The realm in the challenge, verbatim. */
  readonly realm?: string;
  /** A host name moves the token endpoint to that name on a port of its own. */
  readonly realmHost?: 'same' | '127.0.0.1' | 'localhost';
  readonly service?: string;
  /** The POST form is understood; else it is answered 404. */
  readonly postForm?: boolean;
  /** Accepted as `refresh_token` by the POST form, in place of name and password. */
  readonly identityToken?: string;
}

interface Token {
  readonly user: string | undefined;
  readonly scopes: ReadonlySet<string>;
  readonly expiresAt: number;
}

interface Parts {
  readonly auth: AuthOptions;
  readonly now: () => number;
  readonly hasRepository: (repository: string) => boolean;
}

/** Issues tokens, and guards the registry with them or with Basic credentials. */
export class FakeTokenServer {
  readonly service: string;
  /** How many tokens were issued. */
  issued = 0;
  /** Written into the challenge. */
  realm = '';
  readonly #auth: AuthOptions;
  readonly #now: () => number;
  readonly #hasRepository: (repository: string) => boolean;
  readonly #tokens = new Map<string, Token>();

  constructor({ auth, now, hasRepository }: Parts) {
    this.service = auth.service ?? 'fake-registry';
    this.#auth = auth;
    this.#now = now;
    this.#hasRepository = hasRepository;
  }

  /** Every token issued so far is 401 `invalid_token` from now on. */
  revoke(): void {
    this.#tokens.clear();
  }

  describe(authorization: string | undefined): string {
    if (authorization === undefined) return 'none';
    const [scheme = '', value = ''] = authorization.split(' ');
    if (scheme.toLowerCase() === 'basic') return `basic:${decodeBasic(value)[0]}`;
    if (scheme.toLowerCase() !== 'bearer') return scheme;
    const token = this.#findToken(value);
    return token ? `bearer:${token.user ?? 'anonymous'}` : 'bearer:unknown';
  }

  /** The refusal of a registry request, or `undefined` to let it pass. `scope` is absent on the ping. */
  refusal(request: RecordedRequest, scope?: string): Answer | undefined {
    const [scheme = '', value = ''] = (request.headers.authorization ?? '').split(' ');
    if (this.#auth.kind === 'basic') {
      const isUser = scheme.toLowerCase() === 'basic' && this.#isUser(...decodeBasic(value));
      const isAllowed = isUser || (scheme === '' && this.#allowsAnonymous(scope));
      return isAllowed ? undefined : challenge('Basic realm="fake registry"');
    }
    if (scheme.toLowerCase() !== 'bearer') return this.#bearerChallenge(scope);
    const token = this.#findToken(value);
    if (!token) return this.#bearerChallenge(scope, 'invalid_token');
    if (scope === undefined || token.scopes.has(scope)) return undefined;
    return this.#bearerChallenge(scope, 'insufficient_scope');
  }

  /** A bare challenge, as a server sends it to a request it does not know. */
  challenge(scope?: string): Answer {
    return this.#auth.kind === 'basic'
      ? challenge('Basic realm="fake registry"')
      : this.#bearerChallenge(scope);
  }

  /** The token endpoint. */
  answer(request: RecordedRequest): Answer {
    if (request.method === 'POST') return this.#answerPost(request.form);
    if (request.method !== 'GET') return errorAnswer(405);
    const { authorization } = request.headers;
    const [scheme = '', value = ''] = (authorization ?? '').split(' ');
    const [username, password] = decodeBasic(value);
    const isUser = scheme.toLowerCase() === 'basic' && this.#isUser(username, password);
    if (authorization !== undefined && !isUser) return challenge('Basic realm="fake token server"');
    return this.#issue(request.query, isUser ? username : undefined);
  }

  #answerPost(form: URLSearchParams): Answer {
    if (!this.#auth.postForm) return errorAnswer(404, 'UNSUPPORTED');
    const grant = form.get('grant_type');
    const username = form.get('username') ?? '';
    const isUser =
      grant === 'password'
        ? this.#isUser(username, form.get('password') ?? '')
        : grant === 'refresh_token' &&
          this.#auth.identityToken !== undefined &&
          form.get('refresh_token') === this.#auth.identityToken;
    if (!isUser) return errorAnswer(401);
    return this.#issue(form, username === '' ? '<token>' : username);
  }

  #issue(parameters: URLSearchParams, user: string | undefined): Answer {
    const asked = parameters.getAll('scope').flatMap((scope) => scope.split(' '));
    const wrongService = parameters.get('service') !== this.service;
    const granted = asked.filter((scope) => this.#grants(scope, user));
    if (this.#auth.refuses === 'token' && granted.length < asked.length) {
      return errorAnswer(user === undefined ? 401 : 403, 'DENIED');
    }
    const { expiresIn = 300, tokenField } = this.#auth;
    const text = `token-${++this.issued}-${user ?? 'anonymous'}`;
    const expiresAt = this.#now() + (expiresIn ?? 3600) * 1000;
    // A token for another service is issued, and then refused by the registry: so does Docker Hub.
    if (!wrongService) this.#tokens.set(text, { user, scopes: new Set(granted), expiresAt });
    return jsonAnswer(
      {
        ...(tokenField !== 'access_token' && { token: text }),
        ...(tokenField !== 'token' && { access_token: text }),
        ...(expiresIn !== null && {
          expires_in: expiresIn,
          issued_at: new Date(this.#now()).toISOString(),
        }),
      },
      { 'Cache-Control': 'no-store' },
    );
  }

  #grants(scope: string, user: string | undefined): boolean {
    if (user === undefined && !this.#allowsAnonymous(scope)) return false;
    const repository = repositoryOf(scope);
    return repository === undefined || !this.#auth.hidesMissing || this.#hasRepository(repository);
  }

  #allowsAnonymous(scope: string | undefined): boolean {
    const repository = repositoryOf(scope);
    if (repository !== undefined && this.#auth.private?.includes(repository)) return false;
    return this.#auth.anonymous ?? this.#auth.username === undefined;
  }

  #isUser(username: string, password: string): boolean {
    if (this.#auth.username === undefined) return false;
    return username === this.#auth.username && password === (this.#auth.password ?? '');
  }

  #findToken(text: string): Token | undefined {
    const token = this.#tokens.get(text);
    return token && this.#now() < token.expiresAt ? token : undefined;
  }

  #bearerChallenge(scope?: string, error?: string): Answer {
    const parameters = [`realm="${this.realm}"`, `service="${this.service}"`];
    if (scope !== undefined) parameters.push(`scope="${scope}"`);
    if (error !== undefined) parameters.push(`error="${error}"`);
    return challenge(`Bearer ${parameters.join(',')}`);
  }
}

function challenge(text: string): Answer {
  return errorAnswer(401, 'UNAUTHORIZED', { 'WWW-Authenticate': text });
}

function repositoryOf(scope: string | undefined): string | undefined {
  return /^repository:(.+):pull$/.exec(scope ?? '')?.[1];
}

function decodeBasic(value: string): [username: string, password: string] {
  const [username = '', password = ''] = Buffer.from(value, 'base64').toString().split(/:(.*)/s);
  return [username, password];
}
