import type { Access, Origin, Shown } from '../access/access.ts';
import { isAnonymous, isInScope } from '../access/access.ts';
import { ANONYMOUS, describeSubject, inLine } from '../access/subject.ts';
import type { Asker, Verb } from '../access/rules.ts';
import { pathAlias } from '../config/registries.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Target } from '../oci/reference.ts';
import type { Denial } from '../observe/declarations.ts';
import { keepApart } from './answer-headers.ts';
import type { UnderstoodRequest } from './content-request.ts';
import type { V2Context, Visit } from './request-record.ts';
import { TEXTS } from './texts.ts';

/**
 * Who comes in: before the store or an upstream is asked, what rules do not give is refused. Nobody who
 * has not said who it is learns whether something is there; who has, and may not, is told that it is not.
 * Where no rules are configured everybody comes in.
 */
export class Door {
  readonly #access: Access | undefined;

  constructor(access: Access | undefined) {
    this.#access = access;
  }

  /** `/v2/`: here clients learn that they may show something. Throws `UNAUTHORIZED`. */
  async ping(ctx: V2Context): Promise<void> {
    const access = this.#access;
    if (!access || this.pingsAtOnce(ctx)) return;
    keepApartForGood(ctx);
    const shown = await this.#identify(access, ctx);
    if (isKnown(shown)) return;
    ctx.state.record.denied = denialOf(shown);
    throw shown.refusal ?? challenge(access, ctx);
  }

  /** As `ping`, where it is known at once that who asks may; false says nothing. */
  pingsAtOnce(visit: Visit): boolean {
    if (!this.#access) return true;
    const shown = this.#access.recall(visit.req.headers.authorization, originOf(visit));
    if (!shown || !isKnown(shown)) return false;
    keepApartForGood(visit);
    recordShown(visit.state, shown);
    return true;
  }

  /**
   * Of what is open to everybody nobody is asked who it is: no password is compared, which may be a pull
   * secret of the upstream. Who says it all the same stands in line by name. Throws `UNAUTHORIZED`, or
   * `NAME_UNKNOWN` as of a repository that is not there.
   */
  async admit(ctx: V2Context, verb: Verb, request: UnderstoodRequest): Promise<void> {
    const access = this.#access;
    if (!access || this.admitsAtOnce(ctx, verb, request)) return;
    const { target } = request;
    const { record } = ctx.state;
    const open = access.openTo(verb, target, record.client);
    // What is open to some networks alone is no answer for the others.
    if (open !== 'everybody') keepApart(ctx);
    if (open) {
      const asker = await access.recognize(ctx.req.headers.authorization, originOf(ctx));
      recordAsker(ctx.state, asker);
      return;
    }
    const shown = await this.#identify(access, ctx);
    if (isAnonymous(shown) || !isInScope(shown, request)) {
      record.denied = denialOf(shown);
      throw shown.refusal ?? challenge(access, ctx, scopeOf(target));
    }
    if (access.allow(shown, verb, target)) return;
    record.denied = 'rule';
    throw new RegistryError('NAME_UNKNOWN', {
      message: TEXTS.noRepository(target),
      detail: { upstream: target.upstream, name: target.repository },
    });
  }

  /** As `admit`, where it is known at once that who asks may; false says nothing. */
  admitsAtOnce(visit: Visit, verb: Verb, request: UnderstoodRequest): boolean {
    const access = this.#access;
    if (!access) return true;
    const { target } = request;
    const shown = access.recall(visit.req.headers.authorization, originOf(visit));
    if (!shown) return false;
    const open = access.openTo(verb, target, visit.state.record.client);
    if (!open) {
      if (isAnonymous(shown) || !isInScope(shown, request)) return false;
      if (!access.allow(shown, verb, target)) return false;
      recordShown(visit.state, shown);
    } else recordAsker(visit.state, shown);
    if (open !== 'everybody') keepApart(visit);
    return true;
  }

  /**
   * Which repositories of an upstream are listed to who asks; `undefined` where no rule lists any to them, for
   * which nobody is to be asked. Throws `UNAUTHORIZED`.
   */
  async listed(
    ctx: V2Context,
    upstream: string,
  ): Promise<((repository: string) => boolean) | undefined> {
    const access = this.#access;
    if (!access) return () => true;
    keepApart(ctx);
    const shown = await this.#identify(access, ctx);
    const isTooNarrow = shown.claims !== undefined && !shown.claims.catalog;
    const asker = isTooNarrow ? { subject: ANONYMOUS, address: shown.address } : shown;
    if (!access.allowsSome(asker, 'list')) {
      if (!isAnonymous(asker)) return undefined;
      ctx.state.record.denied = denialOf(shown);
      throw shown.refusal ?? challenge(access, ctx, 'registry:catalog:*');
    }
    return (repository) =>
      access.allow(asker, 'list', { upstream, repository: repository as Target['repository'] });
  }

  async #identify(access: Access, ctx: V2Context): Promise<Shown> {
    const shown = await access.identify(ctx.req.headers.authorization, originOf(ctx));
    recordShown(ctx.state, shown);
    return shown;
  }
}

/** Behind a trusted proxy the connection is that of the proxy, and so is the certificate shown on it. */
export function originOf({ state, req }: Visit): Origin {
  const { isProxied, record } = state;
  return { address: record.client, ...(!isProxied && { connection: req.socket }) };
}

/** Who asks, as the log tells of it; of what says nothing here only that it was shown. */
export function recordShown(state: Visit['state'], shown: Shown): void {
  const { record } = state;
  recordAsker(state, shown);
  if (shown.grant.kind === 'token') record.tokenId = shown.grant.id;
  if (shown.isForeign) record.foreign = true;
}

function recordAsker(state: Visit['state'], asker: Asker): void {
  state.record.subject = describeSubject(asker.subject);
  state.inLine = inLine(asker);
}

/** A token that was given to nobody in particular is one, too. */
function isKnown(shown: Shown): boolean {
  return shown.claims !== undefined || !isAnonymous(shown);
}

function keepApartForGood(visit: Visit): void {
  keepApart(visit);
  visit.set('Cache-Control', 'private, no-store');
}

/** Why who shows this is not let in. */
export function denialOf(shown: Shown): Denial {
  if (shown.refusal) return 'limit';
  if (shown.isForeign) return 'credentials';
  return shown.claims ? 'scope' : 'anonymous';
}

/** Docker, Podman and skopeo take no colon in the name. */
function scopeOf({ upstream, repository }: Target): string {
  return `repository:${pathAlias(upstream)}/${repository}:pull`;
}

/** The address of the realm is that under which the client asked; what is signed is not. */
function challenge(access: Access, ctx: V2Context, scope?: string): RegistryError {
  const realm = `${ctx.state.scheme}://${ctx.state.host}/token`;
  const isShort = scope !== undefined && ctx.get('Authorization') !== '';
  const parts = [
    `Bearer realm="${realm}"`,
    `service="${access.service}"`,
    ...(scope === undefined ? [] : [`scope="${scope}"`]),
    ...(isShort ? ['error="insufficient_scope"'] : []),
  ];
  return new RegistryError('UNAUTHORIZED', {
    message: TEXTS.logIn,
    headers: { 'WWW-Authenticate': parts.join(','), 'Cache-Control': 'no-store' },
  });
}
