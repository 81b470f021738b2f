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
  /** In place of that, what the answer says of it. */
  readonly says?: unknown;
  /** The field that carries the token. Default: both `token` and `access_token`. */
  readonly tokenField?: 'token' | 'access_token';
  /** The realm in the challenge, verbatim. */
  readonly realm?: string;
  /** A host name moves the token endpoint to that name on a port of its own. */
  readonly realmHost?: 'same' | '127.0.0.1' | 'localhost' | '[::1]';
  /** The path of the token endpoint. Default `/token`. */
  readonly path?: string;
  /** `null`: challenges name none, and none is asked for. */
  readonly service?: string | null;
  /** The header lines of a challenge in place of the usual one. */
  readonly challenges?: (parts: ChallengeParts) => string[];
  /** The one scope of all challenges and tokens, whatever the repository (ECR Public's `aws`). */
  readonly scope?: string;
  /** Those who are known and have no rights: 401 (default) or 403; also wrong Basic credentials. */
  readonly denies?: 401 | 403;
  /** The POST form is understood; else it is answered with this status, by default 404. */
  readonly postForm?: boolean | number;
  /** The GET form is answered with this status. */
  readonly getForm?: number;
  /** Accepted as `refresh_token` by the POST form, in place of name and password. */
  readonly identityToken?: string;
}

export interface ChallengeParts {
  readonly realm: string;
  readonly service: string | null;
  /** Absent on the ping. */
  readonly scope: string | undefined;
  readonly error: string | undefined;
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
  readonly service: string | null;
  /** Of the token endpoint. */
  readonly path: string;
  /** How many tokens were issued. */
  issued = 0;
  /** Written into the challenge. */
  realm = '';
  readonly #auth: AuthOptions;
  readonly #now: () => number;
  readonly #hasRepository: (repository: string) => boolean;
  readonly #tokens = new Map<string, Token>();
  #hasUser = true;

  constructor({ auth, now, hasRepository }: Parts) {
    this.service = auth.service === undefined ? 'fake-registry' : auth.service;
    this.path = auth.path ?? '/token';
    this.#auth = auth;
    this.#now = now;
    this.#hasRepository = hasRepository;
  }

  /** Every token issued so far is 401 `invalid_token` from now on. */
  revoke(): void {
    this.#tokens.clear();
  }

  /** Name, password and identity token are refused from now on; tokens live on. */
  revokeUser(): void {
    this.#hasUser = false;
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
  refusal(request: RecordedRequest, wanted?: string): Answer | undefined {
    const scope = this.#auth.scope ?? wanted;
    const [scheme = '', value = ''] = (request.headers.authorization ?? '').split(' ');
    if (this.#auth.kind === 'basic') {
      const isUser = scheme.toLowerCase() === 'basic' && this.#isUser(...decodeBasic(value));
      if (isUser || (scheme === '' && this.#allowsAnonymous(scope))) return undefined;
      if (scheme !== '' && this.#auth.denies === 403) return errorAnswer(403);
      return this.challenge(scope);
    }
    if (scheme.toLowerCase() !== 'bearer') return this.#bearerChallenge(scope);
    const token = this.#findToken(value);
    if (!token) return this.#bearerChallenge(scope, 'invalid_token');
    if (scope === undefined || token.scopes.has(scope)) return undefined;
    if (this.#auth.denies === 403) return errorAnswer(403);
    return this.#bearerChallenge(scope, 'insufficient_scope');
  }

  /** A bare challenge, as a server sends it to a request it does not know. */
  challenge(scope?: string): Answer {
    if (this.#auth.kind === 'bearer') return this.#bearerChallenge(scope);
    const usual = ['Basic realm="fake registry"'];
    return challenge(...(this.#auth.challenges?.(this.#challengeParts(scope)) ?? usual));
  }

  /** The token endpoint. */
  answer(request: RecordedRequest): Answer {
    if (request.method === 'POST') return this.#answerPost(request.form);
    if (request.method !== 'GET') return errorAnswer(405);
    if (this.#auth.getForm !== undefined) return errorAnswer(this.#auth.getForm, 'UNSUPPORTED');
    const { authorization } = request.headers;
    const [scheme = '', value = ''] = (authorization ?? '').split(' ');
    const [username, password] = decodeBasic(value);
    const isUser = scheme.toLowerCase() === 'basic' && this.#isUser(username, password);
    if (authorization !== undefined && !isUser) return challenge('Basic realm="fake token server"');
    return this.#issue(request.query, isUser ? username : undefined);
  }

  #answerPost(form: URLSearchParams): Answer {
    const { postForm = 404 } = this.#auth;
    if (postForm !== true) return errorAnswer(Number(postForm) || 404, 'UNSUPPORTED');
    const grant = form.get('grant_type');
    const username = form.get('username') ?? '';
    const isUser =
      grant === 'password'
        ? this.#isUser(username, form.get('password') ?? '')
        : this.#hasUser &&
          grant === 'refresh_token' &&
          this.#auth.identityToken !== undefined &&
          form.get('refresh_token') === this.#auth.identityToken;
    if (!isUser) return errorAnswer(401);
    return this.#issue(form, username === '' ? '<token>' : username);
  }

  #issue(parameters: URLSearchParams, user: string | undefined): Answer {
    const asked = parameters.getAll('scope').flatMap((scope) => scope.split(' '));
    const wrongService = this.service !== null && parameters.get('service') !== this.service;
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
          expires_in: this.#auth.says ?? expiresIn,
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
    if (this.#auth.username === undefined || !this.#hasUser) return false;
    return username === this.#auth.username && password === (this.#auth.password ?? '');
  }

  #findToken(text: string): Token | undefined {
    const token = this.#tokens.get(text);
    return token && this.#now() < token.expiresAt ? token : undefined;
  }

  #bearerChallenge(scope?: string, error?: string): Answer {
    const own = this.#auth.challenges?.(this.#challengeParts(scope, error));
    if (own) return challenge(...own);
    const parameters = [`realm="${this.realm}"`];
    if (this.service !== null) parameters.push(`service="${this.service}"`);
    if (scope !== undefined) parameters.push(`scope="${scope}"`);
    if (error !== undefined) parameters.push(`error="${error}"`);
    return challenge(`Bearer ${parameters.join(',')}`);
  }

  #challengeParts(scope?: string, error?: string): ChallengeParts {
    return { realm: this.realm, service: this.service, scope, error };
  }
}

/** One header line each. */
function challenge(...lines: string[]): Answer {
  return errorAnswer(401, 'UNAUTHORIZED', lines.length > 0 ? { 'WWW-Authenticate': lines } : {});
}

function repositoryOf(scope: string | undefined): string | undefined {
  return /^repository:(.+):pull$/.exec(scope ?? '')?.[1];
}

function decodeBasic(value: string): [username: string, password: string] {
  const [username = '', password = ''] = Buffer.from(value, 'base64').toString().split(/:(.*)/s);
  return [username, password];
}
