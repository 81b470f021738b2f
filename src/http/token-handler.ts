import { buffer } from 'node:stream/consumers';
import type { Access, Origin, Shown } from '../access/access.ts';
import { isAnonymous } from '../access/access.ts';
import { ANONYMOUS } from '../access/subject.ts';
import { badRequest, RegistryError } from '../oci/errors.ts';
import { isRepository } from '../oci/reference.ts';
import { keepApart } from './answer-headers.ts';
import { denialOf, originOf, recordShown } from './door.ts';
import type { V2Context } from './request-record.ts';
import { TEXTS } from './texts.ts';

/** A name, a secret and some scopes. */
const MAX_FORM_BYTES = 64 * 1024;
const FORM_MS = 10_000;
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const NOBODY = { subject: ANONYMOUS, grant: { kind: 'none' } } as const;
/** A client asks for the repositories of one pull, or of a build. */
const MAX_SCOPES = 100;

/**
 * `/token`: what clients get for their credentials. Without a scope it is a login, which fails with a wrong
 * secret; with one, what says nothing here is a secret of the upstream, and the token is that of nobody.
 * @see https://distribution.github.io/distribution/spec/auth/token/
 * @see https://distribution.github.io/distribution/spec/auth/oauth/
 */
export class TokenHandler {
  readonly #access: Access;

  constructor(access: Access) {
    this.#access = access;
  }

  async handle(ctx: V2Context): Promise<void> {
    ctx.state.record.kind = 'token';
    keepApart(ctx);
    ctx.set('Cache-Control', 'private, no-store');
    ctx.set('Pragma', 'no-cache');
    const isForm = ctx.method === 'POST';
    const asked = isForm ? await this.#readForm(ctx) : await this.#readQuery(ctx);
    const { parameters } = asked;
    const shown = this.#access.mayIssue(asked.shown) ? asked.shown : asNobody(asked.shown);
    recordShown(ctx.state, shown);
    // A wrong secret is told, also to who shows a certificate besides.
    const isUnproven = isAnonymous(shown) || shown.isForeign;
    if (isForm && parameters.get('grant_type') === JWT_BEARER && isUnproven) {
      return refuseAssertion(ctx);
    }
    const scopes = parameters.getAll('scope').flatMap((each) => each.split(' '));
    if (scopes.length > MAX_SCOPES) throw badRequest(TEXTS.tooManyScopes({ most: MAX_SCOPES }));
    const isLogin = scopes.every((scope) => scope === '');
    if (isLogin && isUnproven) {
      ctx.state.record.denied = denialOf(shown);
      if (shown.refusal) throw shown.refusal;
      throw new RegistryError('UNAUTHORIZED', {
        message: TEXTS.wrongLogin,
        headers: { 'WWW-Authenticate': `Basic realm="${this.#access.service}"` },
      });
    }
    const { subject, grant } = shown;
    const answer = await this.#access.issue({ subject, grant, ...readScopes(scopes) });
    ctx.body = answer;
  }

  async #readQuery(ctx: V2Context): Promise<Asked> {
    const parameters = new URLSearchParams(ctx.querystring);
    const shown = await this.#access.identify(ctx.req.headers.authorization, originOf(ctx));
    return { parameters, shown };
  }

  /** A password, an API token or a JWT as the refresh token, or a JWT as the assertion (RFC 7523). */
  async #readForm(ctx: V2Context): Promise<Asked> {
    if (!ctx.is('application/x-www-form-urlencoded')) throw badRequest(TEXTS.tokenForm);
    const parameters = new URLSearchParams(await readText(ctx));
    return { parameters, shown: await this.#identifyForm(parameters, originOf(ctx)) };
  }

  async #identifyForm(form: URLSearchParams, origin: Origin): Promise<Shown> {
    const field = (name: string): string => form.get(name) ?? '';
    switch (field('grant_type')) {
      case 'password':
        return this.#access.identifyUser(field('username'), field('password'), origin);
      case 'refresh_token':
        return this.#access.identifyUser('', field('refresh_token'), origin);
      case JWT_BEARER:
        return this.#access.identifyAssertion(field('assertion'), origin);
      default:
        throw badRequest(TEXTS.tokenGrant);
    }
  }
}

/** Nothing is given for it. */
function asNobody({ address }: Shown): Shown {
  return { ...NOBODY, address, isForeign: true };
}

/** Who sends an assertion means this mirror: what does not count is no pull secret of an upstream. */
function refuseAssertion(ctx: V2Context): void {
  ctx.state.record.denied = 'credentials';
  ctx.status = 400;
  ctx.body = { error: 'invalid_grant', error_description: TEXTS.wrongAssertion };
}

interface Asked {
  readonly parameters: URLSearchParams;
  readonly shown: Shown;
}

/** What no pull asks for is dropped. */
function readScopes(scopes: readonly string[]): { repositories: string[]; catalog: boolean } {
  const repositories: string[] = [];
  let catalog = false;
  for (const scope of scopes) {
    const [, name = '', actions = ''] =
      /^repository(?:\([a-z]+\))?:(.+):([a-z*,]*)$/.exec(scope) ?? [];
    const isPull = /(?:^|,)(?:pull|\*)(?:,|$)/.test(actions);
    if (isPull && isName(name)) repositories.push(name);
    catalog ||= /^registry:catalog:(?:\*|.*\blist\b)/.test(scope);
  }
  return { repositories: [...new Set(repositories)], catalog };
}

/** With its registry, which may have a port, or without. */
function isName(name: string): boolean {
  return name.length <= 512 && isRepository(name.replace(/^[a-z0-9.-]+:\d+\//, ''));
}

async function readText(ctx: V2Context): Promise<string> {
  const length = Number(ctx.get('Content-Length') || Number.NaN);
  if (!(length <= MAX_FORM_BYTES)) throw badRequest(TEXTS.tokenForm);
  const timer = setTimeout(() => ctx.req.destroy(), FORM_MS);
  try {
    return String(await buffer(ctx.req));
  } finally {
    clearTimeout(timer);
  }
}
